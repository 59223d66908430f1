/** A modal window: the browser keeps the focus within it and closes it on Escape. */
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { CloseIcon } from "./icons";

interface Props {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
}

export function Dialog({ title, onClose, children }: Props) {
  const box = useRef<HTMLDialogElement>(null);
  const name = useId();
  const isPressedOutside = useRef(false);
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    box.current?.showModal();
    return () => before?.focus();
  }, []);
  return (
    <dialog
      ref={box}
      class="dialog"
      aria-labelledby={name}
      onClose={onClose}
      // Text that is selected beyond the edge must not close it: the press has to be outside, too.
      onPointerDown={(event) => { isPressedOutside.current = event.target === box.current; }}
      onClick={(event) => event.target === box.current && isPressedOutside.current && onClose()}
    >
      <div class="dialog-inside">
        <div class="dialog-head">
          <h2 id={name}>{title}</h2>
          <button type="button" class="button bare icon-only" aria-label="Close" onClick={onClose}>
            <CloseIcon />
          </button>
        </div>
        {children}
      </div>
    </dialog>
  );
}
