// The runs behind one row of a leaderboard.
import { bandsOf, useDetails } from "./plots";
import { learning } from "./charts";
import { baseOf } from "./data";
import { differenceText, meanText } from "./board";
import { metricText, metricTitle, probability, share, short } from "./format";
import { Figure, Settings } from "./parts";
import { rowAt, type Shared } from "./shared";
import { address } from "./state";

export function RowView({ data, state, metricOf, all }: Shared) {
  const at = rowAt(data, state.row);
  const details = useDetails(data, at < 0 ? [] : [at])[0] ?? {};
  if (at < 0) return <p>There is no such row on this page. <a href="#">To the leaderboard</a>.</p>;
  const [row, found] = [data.rows[at], all[at]];
  const metric = metricOf(row.board);
  const runs = Array.from({ length: data.starts[at + 1] - data.starts[at] }, (_, n) => data.starts[at] + n);
  const folds = runs.some((run) => data.runs.fold[run] !== null);
  const names = [...new Set(Object.values(details).flatMap((run) => Object.keys(run.history)))];
  const curves = ["val_accuracy", "val_loss", "loss"].filter((name) => names.includes(name));
  const shown = [metric, ...["accuracy", "f1_macro", "roc_auc", "log_loss", "ece", "agreement"].filter((name) => name !== metric && found.metrics[name] != null)];
  return (
    <>
      <p class="back"><a href={address(state, { row: "" })}>← Leaderboard</a></p>
      <h2 class="long"><bdi>{short(row.label, 300)}</bdi></h2>
      <p class="lead"><bdi>{short(data.boards[row.board].title, 200)}</bdi>; <bdi>{short(data.boards[row.board].headline, 300)}</bdi></p>
      <dl class="tiles">
        <div><dt>{metricTitle(data, metric)}</dt><dd>{meanText(data, metric, found)}</dd></div>
        <div><dt>Δ vs <bdi>{short(baseOf(data, at), 80)}</bdi></dt><dd>{differenceText(data, metric, found.difference, found.differenceHalf)}</dd></div>
        <div><dt>p, corrected (Holm)</dt><dd>{probability(found.p)}, {probability(found.holm)}</dd></div>
        <div><dt>Δ vs {data.reference}</dt><dd>{differenceText(data, metric, found.kdDifference, found.kdHalf)}</dd></div>
        <div><dt>gap recovered</dt><dd>{share(found.gap)}</dd></div>
        <div><dt>rank</dt><dd>{found.rank ?? "–"}</dd></div>
      </dl>
      <div class="scroll" role="region" aria-label="Runs" tabIndex={0}>
        <table>
          <caption class="hidden">Runs of this row</caption>
          <thead>
            <tr>
              <th scope="col" class="left">seed</th>{folds && <th scope="col">fold</th>}<th scope="col" class="left">status</th>
              {shown.map((name) => <th scope="col" key={name}>{short(metricTitle(data, name), 40)}</th>)}
              <th scope="col">training s</th><th scope="col" title="items that this run alone has right, and the baseline's run at the same seed alone">right alone : <bdi>{short(baseOf(data, at), 40)}</bdi> alone (McNemar p)</th>
            </tr>
          </thead>
          <tbody>
            {runs.map((run) => {
              const versus = details[data.runs.id[run]]?.versus;
              return (
                <tr key={run}>
                  <th scope="row" class="left"><a href={address(state, { run: data.runs.id[run] })}>seed {data.runs.seed[run]}</a></th>
                  {folds && <td>{data.runs.fold[run] ?? "–"}</td>}
                  <td class="left">{data.runs.status[run]}</td>
                  {shown.map((name) => <td key={name}><a href={address(state, { run: data.runs.id[run] })} tabIndex={-1}>{metricText(data, name, data.runs.metrics[name]?.[run] ?? null)}</a></td>)}
                  <td>{data.runs.costs.train_seconds[run]?.toFixed(1) ?? "–"}</td>
                  <td>{versus ? `${versus.only_this} : ${versus.only_baseline} (${probability(versus.p_value)})` : "–"}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
      <div class="grid">
        {curves.map((name) => {
          const bands = bandsOf(Object.values(details), name, row.label, 0);
          return bands.length > 0 && <Figure key={name} title={`${name} by epoch`} on={[details, name]} draw={(width) => learning(width, bands, name)} describe="Mean over seeds, one standard deviation to either side." />;
        })}
      </div>
      {row.published.length > 0 && (
        <section>
          <h3>Published</h3>
          <ul class="notes">
            {row.published.map((each) => (
              <li key={each.metric}>
                {short(metricTitle(data, each.metric), 40)} {metricText(data, each.metric, each.value)}
                {found.metrics[each.metric] != null && `; here ${metricText(data, each.metric, found.metrics[each.metric]! - each.value, true)}`}: <bdi>{short([each.source, each.protocol].filter(Boolean).join("; "), 400)}</bdi>
              </li>
            ))}
          </ul>
        </section>
      )}
      <Settings title="Hyper-parameters" values={row.params} />
      <Settings title={`Recipe ${short(row.recipe, 60)}`} values={row.settings} />
    </>
  );
}
