// The page while runs go on: kdbench report --watch answers a question when something is new, and says when it ends.
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { type Data, type Details, prepared } from "./data";
import { count } from "./format";
import { rowAddress } from "./shared";

/** live: answers come; lost: none does, and it is tried again; ended: the server said so. */
export interface Link { state: "live" | "lost" | "ended"; since: Date; updated: Date; retry: () => void }
interface Told { version: string; made: string; content: any }

const MOST_SECONDS = 120, LONGEST_PAUSE = 30;
const ANNOUNCED_EVERY = 60_000;

/** What is other than `after`; null where nothing is for a while, "ended" where the server says goodbye. */
async function ask(after: string): Promise<Told | "ended" | null> {
  const response = await fetch(`runs?after=${encodeURIComponent(after)}`, { signal: AbortSignal.timeout(1000 * MOST_SECONDS) });
  if (response.status === 204) return null;
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  const told = await response.json();
  return told.ended ? "ended" : told;
}

/** The curves of a row are asked for when it is looked at, and again when its runs, or the baseline's, are others. */
function detailsFrom(gone: { current: boolean }) {
  const kept = new Map<string, { runs: string; details: Promise<Record<string, Details> | null> }>();
  return (told: Told): Data => {
    const data = prepared(told.content, (row) => {
      const key = rowAddress(data, row);
      const runs = [row, data.rows[row].base].map((each) => (each === null ? "" : runsOf(data, each))).join("|");
      const known = kept.get(key);
      if (known?.runs === runs) return known.details;
      if (gone.current) return Promise.resolve(null);
      const details = fetch(`details?row=${encodeURIComponent(key)}`).then((response) => (response.ok ? response.json() : null), () => null);
      details.then((found) => found ?? kept.delete(key)); // asked for again, then
      kept.set(key, { runs, details });
      return details;
    });
    data.about.made = told.made;
    return data;
  };
}
function runsOf(data: Data, row: number): string {
  const runs = Array.from({ length: data.starts[row + 1] - data.starts[row] }, (_, at) => data.starts[row] + at);
  return runs.map((run) => `${data.runs.id[run]} ${data.runs.finished[run]}`).join();
}

export async function startLive(): Promise<(render: (data: Data, link: Link) => ComponentChildren) => ComponentChildren> {
  const first = await ask("");
  if (first === null || first === "ended") throw new Error("the server has ended");
  return (render) => <Following first={first} render={render} />;
}

function Following({ first, render }: { first: Told; render: (data: Data, link: Link) => ComponentChildren }) {
  const gone = useRef(false);
  const [read] = useState(() => detailsFrom(gone));
  const [data, setData] = useState(() => read(first));
  const [link, setLink] = useState<Link>(() => ({ state: "live", since: new Date(), updated: new Date(first.made), retry: () => {} }));
  useEffect(() => {
    let on = true;
    let retry = () => {};
    const become = (state: Link["state"], made?: string) => {
      gone.current = state !== "live";
      setLink((before) => before.state === state && !made ? before
        : { state, since: before.state === state ? before.since : new Date(), updated: made ? new Date(made) : before.updated, retry: () => retry() });
    };
    const until = (seconds: number | null) => new Promise<void>((done) => {
      const timer = seconds === null ? 0 : setTimeout(done, 1000 * seconds);
      retry = () => { clearTimeout(timer); done(); };
    });
    (async () => {
      let version = first.version, pause = 1, ended = false;
      while (on) {
        if (document.hidden) await shown();
        try {
          const told = await ask(version);
          if (!on) return;
          if (told === "ended") ended = true;
          else {
            [ended, pause] = [false, 1];
            if (told) {
              version = told.version;
              setData(read(told));
            }
            become("live", told?.made);
            continue;
          }
        } catch {
          if (!on) return;
        }
        become(ended ? "ended" : "lost");
        await until(ended ? null : pause);
        pause = Math.min(LONGEST_PAUSE, 2 * pause);
      }
    })();
    const look = () => document.hidden || retry();
    document.addEventListener("visibilitychange", look);
    return () => { on = false; document.removeEventListener("visibilitychange", look); };
  }, []);
  return <>{render(data, link)}</>;
}

/** Nothing is asked while nobody looks. */
const shown = () => new Promise<void>((done) => {
  const look = () => {
    if (document.hidden) return;
    document.removeEventListener("visibilitychange", look);
    done();
  };
  document.addEventListener("visibilitychange", look);
});

const clock = (moment: Date) => <time dateTime={moment.toISOString()}>{moment.toLocaleTimeString("en-GB")}</time>;

/** Says that the page is live and since when it is as it is, or that it is not any more. */
export function LiveBar({ data, link }: { data: Data; link: Link }) {
  const { state, since, updated, retry } = link;
  const problems = data.live?.problems ?? [];
  return (
    <>
      <div class={`link ${state}`}>
        {state === "live" ? <p><strong>Live</strong>, last updated {clock(updated)}</p> : (
          <>
            <p>
              <strong>Not live any more.</strong> {state === "ended" ? <>kdbench report --watch was ended at {clock(since)}.</> : <>Since {clock(since)} kdbench report --watch does not answer; it is asked again and again.</>}
              {" "}Below is what there was at {clock(updated)}.
            </p>
            <button type="button" onClick={retry}>Try again now</button>
          </>
        )}
      </div>
      <Announcement state={state} runs={data.runs.id.length} />
      {problems.length > 0 && (
        <details class="warning">
          <summary>{problems.length === 1 ? "Something cannot be read" : `${count(problems.length)} things cannot be read`} and {problems.length === 1 ? "is" : "are"} left out</summary>
          <ul class="notes">{problems.slice(0, 20).map((each) => <li key={each}><bdi class="problem">{each}</bdi></li>)}{problems.length > 20 && <li>and more</li>}</ul>
        </details>
      )}
    </>
  );
}

/** For screen readers: a change of state at once, new runs once a minute at most. */
function Announcement({ state, runs }: { state: Link["state"]; runs: number }) {
  const [text, setText] = useState("");
  const last = useRef({ state, runs, at: -Infinity });
  useEffect(() => {
    if (state === last.current.state && runs === last.current.runs) return;
    const say = () => {
      const news = runs - last.current.runs;
      setText(state !== "live" ? "Not live any more: kdbench report --watch does not answer." : `Live. ${count(runs)} runs${news > 0 ? `, ${count(news)} of them new` : ""}.`);
      last.current = { state, runs, at: Date.now() };
    };
    const wait = state === last.current.state ? last.current.at + ANNOUNCED_EVERY - Date.now() : 0;
    if (wait <= 0) return say();
    const timer = setTimeout(say, wait);
    return () => clearTimeout(timer);
  }, [state, runs]);
  return <p class="hidden" role="status">{text}</p>;
}

export function Waiting({ data }: { data: Data }) {
  return (
    <p class="lead">
      {data.live!.expression ? <>No run of <code>{data.about.directory}</code> matches <code>-k '{data.live!.expression}'</code> so far.</> : <><code>{data.about.directory}</code> holds no run so far.</>}
      {" "}The first is shown here as soon as it ends; this page may stay open.
    </p>
  );
}
