/** Thumbnails, asked for once each and let go of when others have taken their place. */
import { type Api, isAbort } from "../api/client";

const KEPT = 200;

export class Pictures {
  private readonly known = new Map<string, Promise<string | null>>();

  constructor(private readonly api: Api) {}

  /** An address of the picture of a series; null where it has none or it cannot be had now. */
  of(key: string): Promise<string | null> {
    const found = this.known.get(key);
    if (found) {
      this.known.delete(key); // behind the others: it is wanted again
      this.known.set(key, found);
      return found;
    }
    const asked = this.api.thumbnail(key).then(
      (data) => (data ? URL.createObjectURL(data) : null),
      (error: unknown) => {
        if (!isAbort(error)) this.known.delete(key); // it may be had the next time
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
