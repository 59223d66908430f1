/** The small picture of a series; a quiet field where it has none. */
import { useEffect, useState } from "preact/hooks";
import { useExplorer } from "./context";

interface Props {
  of: string;
  size: "small" | "large";
  /** Milliseconds before it is asked for: what the pointer only passes over is not. */
  after?: number;
}

export function Thumbnail({ of, size, after = 0 }: Props) {
  const { pictures } = useExplorer();
  const [address, show] = useState<string | null>(null);
  useEffect(() => {
    let isWanted = true;
    show(null);
    const timer = window.setTimeout(() => {
      void pictures.of(of).then((found) => isWanted && show(found));
    }, after);
    return () => {
      isWanted = false;
      window.clearTimeout(timer);
    };
  }, [of]);
  return (
    <span class={`thumbnail ${size}`}>
      {address && <img src={address} alt="" onError={() => show(null)} />}
    </span>
  );
}
