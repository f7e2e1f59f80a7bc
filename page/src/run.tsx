// One run: its numbers, its curves, and how to repeat it.
import { confusionPlot, curvePlot, learning, reliabilityPlot } from "./charts";
import { baseOf, commandOf, type Curve } from "./data";
import { COSTS, costText, metricText, metricTitle, moment, probability, short } from "./format";
import { Command, Figure, Settings } from "./parts";
import { bandsOf, Legend, useDetails } from "./plots";
import { rowAddress, type Shared } from "./shared";
import { address } from "./state";

const TERMS_LEFT_OUT = ["epoch", "lr", "finetune", "val_accuracy", "val_loss"];

export function RunView({ data, state }: Shared) {
  const { runs } = data;
  const at = runs.id.indexOf(state.run);
  const all = useDetails(data, at < 0 ? [] : [runs.row[at]])[0];
  if (at < 0) return <p>There is no such run on this page. <a href="#">To the leaderboard</a>.</p>;
  const row = data.rows[runs.row[at]];
  const board = data.boards[row.board];
  const details = all?.[state.run];
  const error = runs.error[at];
  const history = details?.history ?? {};
  const terms = Object.keys(history).filter((name) => !TERMS_LEFT_OUT.includes(name) && history[name].some((value) => value !== null));
  const lines = terms.flatMap((name, place) => bandsOf([details!], name, name, place));
  const validation = ["val_accuracy", "val_loss"].filter((name) => history[name]?.some((value) => value !== null));
  const names = Object.keys(data.metrics).filter((name) => runs.metrics[name][at] !== null || details?.validation[name] != null);
  const { curves, reliability, confusion, accuracy_interval: ends, versus } = details ?? {};
  return (
    <>
      <p class="back"><a href={address(state, { run: "", row: rowAddress(data, runs.row[at]) })}>← All runs of this row</a></p>
      <h2 class="long"><bdi>{short(row.label, 300)}</bdi>, seed {runs.seed[at]}{runs.fold[at] !== null && `, fold ${runs.fold[at]}`}</h2>
      <p class="lead"><bdi>{short(board.title, 200)}</bdi>; {runs.status[at]}; run <code>{runs.id[at]}</code>, combo <code>{short(runs.combos[runs.combo[at]], 200)}</code></p>
      {error !== null && <pre class="error">{runs.errors[error]}</pre>}
      <h3>Repeat this run</h3>
      {commandOf(data, at) ? <Command text={commandOf(data, at)} /> : <p>The record holds no command.</p>}
      <h3>Scores</h3>
      <div class="scroll" role="region" aria-label="Scores" tabIndex={0}>
        <table>
          <caption class="hidden">Scores of this run</caption>
          <thead><tr><th scope="col" class="left">metric</th><th scope="col">test</th><th scope="col">validation</th><th scope="col">teacher, test</th></tr></thead>
          <tbody>
            {names.map((name) => (
              <tr key={name}>
                <th scope="row" class="left">{short(metricTitle(data, name), 60)}</th>
                <td>{metricText(data, name, runs.metrics[name][at])}{name === "accuracy" && ends && ` [${metricText(data, name, ends[0])}, ${metricText(data, name, ends[1])}]`}</td>
                <td>{metricText(data, name, details?.validation[name] ?? null)}</td>
                <td>{metricText(data, name, details?.teacher[name] ?? null)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {ends && <p class="legend">Accuracy: with Wilson's 95% interval over its {details!.items} test items, for this one model.</p>}
      {versus && <p class="lead">Beside <bdi>{short(baseOf(data, runs.row[at]), 80)}</bdi> at the same seed: only this run has {items(versus.only_this)} right, only the other {items(versus.only_baseline)}; McNemar p = {probability(versus.p_value)}.</p>}
      {all && !details && !data.live && <p class="warning">This file holds no curves of this run. A smaller part of the results has them all: kdbench report DIR --format html -k '{short(board.dataset, 60)}'</p>}
      <div class="grid">
        {validation.map((name) => <Figure key={name} title={`${name} by epoch`} on={[details]} draw={(width) => learning(width, bandsOf([details!], name, name, 0), name)} describe={details?.selected == null ? "" : `Epoch ${details.selected} was chosen on validation.`} />)}
        {lines.length > 0 && <Figure title="Loss by epoch" on={[details]} draw={(width) => learning(width, lines, "training loss")} describe="The terms of the training loss."><Legend items={terms} /></Figure>}
        {curves && curves.length > 0 && <Figure title="ROC curve" on={[details]} draw={(width) => curvePlot(width, curves, "roc")} describe={`One class against the rest: ${areas(curves, "auc")}.`}><Legend items={curves.map((curve) => areaText(curve, "auc"))} /></Figure>}
        {curves && curves.length > 0 && <Figure title="Precision and recall" on={[details]} draw={(width) => curvePlot(width, curves, "pr")} describe={`One class against the rest: ${areas(curves, "ap")}.`}><Legend items={curves.map((curve) => areaText(curve, "ap"))} /></Figure>}
        {reliability && <Figure title="Reliability" on={[details]} draw={(width) => reliabilityPlot(width, reliability)} describe="Accuracy by confidence, in 15 bins; on the dashed line confidence is accuracy. Grey: how many items." />}
        {confusion && <Figure title="Confusion matrix" on={[details]} draw={(width) => confusionPlot(width, confusion)} describe={confusions(confusion)} />}
      </div>
      <Settings title="Hyper-parameters" values={row.params} />
      <Settings title={`Recipe ${short(row.recipe, 60)}`} values={row.settings} />
      <Settings title="Cost" values={Object.fromEntries([
        ...Object.keys(COSTS).filter((name) => runs.costs[name][at] !== null).map((name) => [COSTS[name].title, costText(name, runs.costs[name][at])]),
        ...Object.entries(details?.seconds ?? {}).map(([name, value]) => [`${name}, s`, value]),
      ])} />
      <Settings title="Provenance" values={{ ...flat(runs.provenances[runs.provenance[at]]), started: moment(runs.started[at]), finished: moment(runs.finished[at]) }} />
    </>
  );
}

/** Mappings within the mapping, one line each. */
const flat = (values: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(values).flatMap(([name, value]) =>
    value !== null && typeof value === "object" && !Array.isArray(value)
      ? Object.entries(value).map(([inner, each]) => [`${name}: ${inner}`, each]) : [[name, value]]));
const items = (number: number) => `${number} item${number === 1 ? "" : "s"}`;

function areaText(curve: Curve, which: "auc" | "ap"): string {
  const ends = which === "auc" && curve.low !== null ? ` [${curve.low.toFixed(3)}, ${curve.high!.toFixed(3)}]` : "";
  return `class ${curve.class}: ${curve[which].toFixed(3)}${ends}`;
}
const areas = (curves: Curve[], which: "auc" | "ap") =>
  `area ${Math.min(...curves.map((curve) => curve[which])).toFixed(3)} to ${Math.max(...curves.map((curve) => curve[which])).toFixed(3)}${which === "auc" ? ", with DeLong's 95% interval" : ""}`;

function confusions(table: number[][]): string {
  const wrong = table.flatMap((line, truth) => line.map((items, predicted) => ({ truth, predicted, items }))).filter((cell) => cell.truth !== cell.predicted && cell.items > 0);
  wrong.sort((a, b) => b.items - a.items);
  return wrong.length ? `Most often mistaken: ${wrong.slice(0, 3).map((cell) => `${cell.truth} for ${cell.predicted} (${cell.items})`).join(", ")}.` : "Nothing is mistaken.";
}
