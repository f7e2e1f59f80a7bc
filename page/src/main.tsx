// The page: what is chosen, in the address; what is shown of it, below.
import { render } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { aggregate } from "./aggregate";
import { Leaderboard } from "./board";
import { type Data, held, readData } from "./data";
import { Failures } from "./failures";
import { count, metricTitle, short } from "./format";
import { type Link, LiveBar, startLive, Waiting } from "./live";
import { Checks, Select, Theme } from "./parts";
import { Datasets, Differences, Learning, TradeOff } from "./plots";
import { RowView } from "./row";
import { RunView } from "./run";
import { address, type Go, type State, useAddress } from "./state";
import { TimingsView } from "./timings";

const VIEWS: [string, string][] = [
  ["", "Leaderboard"], ["differences", "Differences"], ["cost", "Quality and cost"], ["learning", "Learning curves"],
  ["datasets", "Across datasets"], ["failures", "Failures"],
];
const TIMINGS: [string, string] = ["timings", "Timings"];

function Page({ data, link }: { data: Data; link?: Link }) {
  const [state, go] = useAddress();
  const views = data.timings ? [...VIEWS, TIMINGS] : VIEWS;
  const asked = data.metrics[state.metric] ? state.metric : "";
  const metricOf = (board: number) => asked || data.boards[board].metric;
  const seeds = useMemo(() => (state.seeds ? new Set(state.seeds.split(",").map(Number)) : null), [state.seeds]);
  const all = useMemo(() => aggregate(data, metricOf, seeds), [data, asked, seeds]);
  const boards = data.boards.map((board, at) => ({ ...board, at })).filter(
    (board) => (!state.dataset || board.dataset === state.dataset) && (!state.pair || board.pair === state.pair),
  );
  const chosen = useMemo(() => {
    const kept = new Set(boards.map((board) => board.at));
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    return all.filter((each) => {
      const row = data.rows[each.row];
      if (!kept.has(row.board) || (state.family && row.family !== state.family)) return false;
      const text = `${row.label} ${row.family} ${data.boards[row.board].title}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
  }, [all, state.dataset, state.pair, state.family, state.q]);
  const metrics = new Set(boards.map((board) => metricOf(board.at)));
  const metric = [...metrics][0] ?? data.metric;
  const shared = { data, state, go, metric, metricOf, mixed: metrics.size > 1, all, rows: chosen, boards: boards.map((board) => board.at) };
  const heading = useRef<HTMLHeadingElement>(null);
  const where = `${state.view} ${state.row} ${state.run}`;
  const before = useRef(where);
  useEffect(() => {
    if (before.current !== where) {
      heading.current?.focus(); // a screen reader goes on reading there
      scrollTo(0, 0);
    }
    before.current = where;
  }, [where]);
  useEffect(() => {
    if (state.theme) document.documentElement.dataset.theme = state.theme;
    else delete document.documentElement.dataset.theme;
  }, [state.theme]);
  const failed = data.runs.status.filter((status) => status !== "ok").length;
  const detail = state.run || state.row;
  const timings = !detail && state.view === "timings" && data.timings !== null;
  const waiting = !timings && data.live !== undefined && data.runs.id.length === 0;
  const title = waiting ? "Waiting for the first run" : state.run ? "Run" : state.row ? "Runs of a row" : views.find(([name]) => name === state.view)?.[1] ?? "Leaderboard";
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); heading.current?.focus(); }}>Skip to the results</a>
      <header>
        <div class="brand">
          <p class="name">kdbench</p>
          <p class="facts">
            {count(data.runs.id.length)} runs · {count(data.boards.length)} leaderboard{data.boards.length === 1 ? "" : "s"}
            {failed > 0 && <> · <a href={address(state, { view: "failures", row: "", run: "" })}>{count(failed)} failed</a></>}
          </p>
        </div>
        <nav aria-label="Views">
          {views.map(([name, text]) => (
            <a key={name} href={address(state, { view: name, row: "", run: "", page: "", sort: "" })}
              aria-current={!detail && state.view === name ? "page" : undefined}>{text}</a>
          ))}
        </nav>
      </header>
      {link && <LiveBar data={data} link={link} />}
      {!detail && !timings && !waiting && <Choices data={data} state={state} go={go} metric={asked} />}
      <main id="main">
        <h1 tabIndex={-1} ref={heading}>{title}</h1>
        {waiting ? <Waiting data={data} /> : timings ? <TimingsView data={data} state={state} go={go} />
          : state.run ? <RunView {...shared} /> : state.row ? <RowView {...shared} />
          : state.view === "differences" ? <Differences {...shared} />
          : state.view === "cost" ? <TradeOff {...shared} />
          : state.view === "learning" ? <Learning {...shared} />
          : state.view === "datasets" ? <Datasets {...shared} />
          : state.view === "failures" ? <Failures {...shared} />
          : <Leaderboard {...shared} />}
      </main>
      <footer>
        <p>
          Made by kdbench {data.about.version}, {data.about.made.slice(0, 16).replace("T", " ")} UTC
          {data.about.directory && <>, from <code>{short(data.about.directory)}</code></>}.
          {link ? " Only kdbench on this machine is asked, for what is new." : " Nothing is fetched: everything is in this file."}
        </p>
      </footer>
    </>
  );
}

function Choices({ data, state, go, metric }: { data: Data; state: State; go: Go; metric: string }) {
  const named = (values: string[], all: string): [string, string][] =>
    [["", all], ...[...new Set(values)].sort().map((value): [string, string] => [value, short(value, 60)])];
  const pairs = data.boards.filter((board) => !state.dataset || board.dataset === state.dataset).map((board) => board.pair);
  const seeds = useMemo(() => [...new Set(data.runs.seed)].sort((a, b) => a - b).map(String), [data]);
  const ticked = new Set(state.seeds ? state.seeds.split(",") : seeds);
  const families = data.rows.map((row) => row.family).filter(Boolean);
  const main = [...new Set(data.boards.map((board) => board.metric))].map((name) => metricTitle(data, name));
  return (
    <form class="choices" aria-label="What is shown" onSubmit={(event) => event.preventDefault()}>
      <div class="field">
        <label for="search">Search</label>
        <input type="search" id="search" value={state.q} placeholder="method, dataset, model" onInput={(event) => go({ q: event.currentTarget.value, page: "" }, { replace: true })} />
      </div>
      <Select label="Metric" value={metric} options={[["", main.length === 1 ? short(main[0], 60) : "the main one of each"], ...Object.keys(data.metrics).map((name): [string, string] => [name, short(metricTitle(data, name), 60)]).filter(([, title]) => main.length > 1 || title !== main[0])]} onChange={(value) => go({ metric: value, sort: "" })} />
      <Select label="Dataset" value={state.dataset} options={named(data.boards.map((board) => board.dataset), "all")} onChange={(dataset) => go({ dataset, pair: "", page: "" })} />
      <Select label="Teacher → student" value={state.pair} options={named(pairs, "all")} onChange={(pair) => go({ pair, page: "" })} />
      {families.length > 0 && <Select label="Family" value={state.family} options={named(families, "all")} onChange={(family) => go({ family, page: "" })} />}
      {seeds.length > 1 && <Checks label="Seeds" summary={state.seeds ? short(state.seeds, 20) : `all ${seeds.length}`} options={seeds.map((seed) => [seed, seed])} chosen={ticked}
        onChange={(next) => go({ seeds: next.size === seeds.length || next.size === 0 ? "" : [...next].join(",") })} />}
      <Theme state={state} go={go} />
    </form>
  );
}

async function page() {
  if (!held("live")) return <Page data={await readData()} />;
  const live = await startLive();
  return live((data, link) => <Page data={data} link={link} />);
}

page().then(
  (shown) => {
    const place = document.getElementById("page")!;
    place.replaceChildren();
    render(shown, place);
  },
  (error: unknown) => {
    document.getElementById("page")!.textContent = `This page could not be read: ${error}. A current browser is needed (it unpacks gzip).`;
  },
);
