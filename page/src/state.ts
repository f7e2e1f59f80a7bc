// The state of the page is in the address, behind the #: every view can be linked to.
import { useEffect, useState } from "preact/hooks";

export interface State {
  view: string; metric: string; dataset: string; pair: string; family: string; q: string; seeds: string; sort: string;
  page: string; columns: string; row: string; run: string; cost: string; curve: string; group: string; theme: string;
}
const NAMES: (keyof State)[] = [
  "view", "metric", "dataset", "pair", "family", "q", "seeds", "sort", "page", "columns", "row", "run", "cost", "curve", "group", "theme",
];

function parsed(): State {
  const given = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(NAMES.map((name) => [name, given.get(name) ?? ""])) as unknown as State;
}

/** The address of a state: only what is set is in it. */
export function address(state: State, change: Partial<State> = {}): string {
  const given = new URLSearchParams();
  for (const name of NAMES) {
    const value = change[name] ?? state[name];
    if (value) given.set(name, value);
  }
  return `#${given}`;
}

export type Go = (change: Partial<State>, options?: { replace?: boolean }) => void;

export function useAddress(): [State, Go] {
  const [state, setState] = useState(parsed);
  useEffect(() => {
    const follow = () => setState(parsed());
    addEventListener("hashchange", follow);
    addEventListener("popstate", follow);
    return () => {
      removeEventListener("hashchange", follow);
      removeEventListener("popstate", follow);
    };
  }, []);
  const go: Go = (change, { replace = false } = {}) => {
    const to = address(parsed(), change);
    if (replace) history.replaceState(null, "", to);
    else history.pushState(null, "", to);
    setState(parsed());
  };
  return [state, go];
}
