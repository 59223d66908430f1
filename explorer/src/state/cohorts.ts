/** Saved cohorts: the list of them, the one that is looked at, and what has happened since. */
import { batch, signal } from "@preact/signals";
import { type Api, asProblem, type Problem } from "../api/client";
import type { Cohort, CohortSummary, Difference } from "../api/types";
import type { CohortRef } from "./place";

export interface Opened {
  readonly cohort: Cohort;
  /** What has come, gone and changed since it was saved; null while that is being asked. */
  readonly news: Difference | null;
  readonly compared: { readonly with: CohortSummary; readonly difference: Difference } | null;
}

export class Cohorts {
  readonly all = signal<readonly CohortSummary[] | null>(null);
  readonly opened = signal<Opened | null>(null);
  readonly problem = signal<Problem | null>(null);
  /** Why the last attempt to save one failed. */
  readonly saving = signal<Problem | null>(null);
  readonly isBusy = signal(false);
  private turn = 0;

  constructor(private readonly api: Api) {}

  async list(): Promise<void> {
    await this.doing(async () => {
      const found = await this.api.cohorts();
      found.sort((one, other) => (one.created < other.created ? 1 : -1));
      this.all.value = found;
    });
  }

  async open(ref: CohortRef): Promise<void> {
    const turn = ++this.turn;
    await this.doing(async () => {
      const cohort = await this.api.cohort(ref.name, ref.version);
      if (turn !== this.turn) return;
      this.opened.value = { cohort, news: null, compared: null };
      const news = await this.api.news(ref.name, ref.version);
      if (turn === this.turn && this.opened.value) this.opened.value = { ...this.opened.value, news };
    });
  }

  close(): void {
    this.turn++;
    batch(() => {
      this.opened.value = null;
      this.problem.value = null;
    });
  }

  async compare(other: CohortSummary): Promise<void> {
    const opened = this.opened.value;
    if (!opened) return;
    await this.doing(async () => {
      const difference = await this.api.difference(opened.cohort, other);
      if (this.opened.value?.cohort === opened.cohort) {
        this.opened.value = { ...this.opened.value, compared: { with: other, difference } };
      }
    });
  }

  /** Save a cohort of what `body` gives. Null where that went wrong; `saving` says how. */
  async save(body: () => Promise<Record<string, unknown>>): Promise<Cohort | null> {
    this.isBusy.value = true;
    this.saving.value = null;
    try {
      const saved = await this.api.saveCohort(await body());
      await this.list();
      return saved;
    } catch (error) {
      this.saving.value = asProblem(error);
      return null;
    } finally {
      this.isBusy.value = false;
    }
  }

  private async doing(work: () => Promise<void>): Promise<void> {
    this.isBusy.value = true;
    this.problem.value = null;
    try {
      await work();
    } catch (error) {
      this.problem.value = asProblem(error);
    } finally {
      this.isBusy.value = false;
    }
  }
}
