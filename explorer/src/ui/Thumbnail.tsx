/** The small picture of a series; its modality where it has none. */
import { useEffect, useRef, useState } from "preact/hooks";
import { useExplorer } from "./context";

interface Props {
  of: string;
  /** What stands where there is no picture. */
  name: string;
  size: "small" | "large";
  /** Milliseconds before it is asked for: what the pointer only passes over is not. */
  after?: number;
}

export function Thumbnail({ of, name, size, after = 0 }: Props) {
  const { pictures } = useExplorer();
  const [address, show] = useState<string | null>(null);
  const box = useRef<HTMLSpanElement>(null);
  useEffect(() => {
    let isWanted = true;
    let timer = 0;
    // What nobody has scrolled to is not asked for.
    const seen = new IntersectionObserver((entries) => {
      if (!entries.some((each) => each.isIntersecting)) return;
      seen.disconnect();
      timer = window.setTimeout(() => {
        void pictures.of(of).then((found) => isWanted && show(found));
      }, after);
    });
    if (box.current) seen.observe(box.current);
    return () => {
      isWanted = false;
      seen.disconnect();
      window.clearTimeout(timer);
    };
  }, [of]);
  return (
    <span ref={box} class={`thumbnail ${size}${address ? " shown" : ""}`}>
      {address ? <img src={address} alt="" onError={() => show(null)} /> : <span aria-hidden="true">{name}</span>}
    </span>
  );
}
