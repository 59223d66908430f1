/** Thumbnails, asked for once each and let go of when others have taken their place. */
import type { Api } from "../api/client";

const KEPT = 200;
/** The server answers four requests at once: pictures must not keep a search waiting. */
const AT_ONCE = 2;

export class Pictures {
  private readonly known = new Map<string, Promise<string | null>>();
  private readonly waiting: (() => void)[] = [];
  private running = 0;

  constructor(private readonly api: Api) {}

  /** An address of the picture of a series; null where it has none or it cannot be had now. */
  of(key: string): Promise<string | null> {
    const found = this.known.get(key);
    if (found) {
      this.known.delete(key); // behind the others: it is wanted again
      this.known.set(key, found);
      return found;
    }
    const asked = this.turn(() => this.api.thumbnail(key)).then(
      (data) => (data ? URL.createObjectURL(data) : null),
      () => {
        this.known.delete(key); // it may be had the next time
        return null;
      },
    );
    this.known.set(key, asked);
    this.forget();
    return asked;
  }

  /** Forget all: what may be seen may have changed. */
  clear(): void {
    for (const [key] of this.known) this.drop(key);
  }

  /** Do something when it is its turn. */
  private async turn<T>(work: () => Promise<T>): Promise<T> {
    if (this.running >= AT_ONCE) await new Promise<void>((go) => this.waiting.push(go));
    this.running++;
    try {
      return await work();
    } finally {
      this.running--;
      this.waiting.shift()?.();
    }
  }

  private forget(): void {
    for (const [key] of this.known) {
      if (this.known.size <= KEPT) return;
      this.drop(key);
    }
  }

  private drop(key: string): void {
    const found = this.known.get(key);
    this.known.delete(key);
    void found?.then((address) => address && URL.revokeObjectURL(address));
  }
}
