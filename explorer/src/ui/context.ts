import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Explorer } from "../state/explorer";

export const ExplorerContext = createContext<Explorer | null>(null);

export function useExplorer(): Explorer {
  const found = useContext(ExplorerContext);
  if (!found) throw new Error("there is no explorer around this part of the page");
  return found;
}
