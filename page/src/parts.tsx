// Small parts that several views share.
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { plain } from "./format";
import type { Go, State } from "./state";

interface FigureProps { title: string; describe: string; children?: ComponentChildren; draw: (width: number) => Element | null; on: unknown[] }

/** A chart drawn to the width there is; its description is what a screen reader says. */
export function Figure({ title, describe, children, draw, on }: FigureProps) {
  const place = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => setWidth(Math.round(entry.contentRect.width)));
    watch.observe(place.current!);
    return () => watch.disconnect();
  }, []);
  useEffect(() => {
    if (!width) return;
    const drawn = draw(width);
    for (const style of drawn?.querySelectorAll("style") ?? []) style.remove(); // ours are in the page's own style
    for (const part of drawn?.querySelectorAll("[aria-label]") ?? []) { // within an image they name nothing
      (part as SVGElement).dataset.part = part.getAttribute("aria-label")!;
      for (const name of ["aria-label", "aria-description"]) part.removeAttribute(name);
    }
    const svg = drawn instanceof SVGElement ? drawn : drawn?.querySelector("svg");
    svg?.setAttribute("role", "img");
    svg?.setAttribute("aria-label", `${title}. ${describe}`);
    place.current!.replaceChildren(...(drawn ? [drawn] : []));
  }, [width, ...on]);
  return (
    <figure>
      <figcaption><strong>{title}</strong> {describe}</figcaption>
      <div class="drawing" ref={place} />
      {children}
    </figure>
  );
}

export function Settings({ title, values }: { title: string; values: Record<string, unknown> }) {
  const names = Object.keys(values);
  if (!names.length) return null;
  return (
    <section>
      <h3>{title}</h3>
      <dl class="settings">
        {names.map((name) => (
          <div key={name}><dt>{name}</dt><dd>{plain(values[name])}</dd></div>
        ))}
      </dl>
    </section>
  );
}

export function Command({ text }: { text: string }) {
  const [told, setTold] = useState("");
  const code = useRef<HTMLElement>(null);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setTold("copied");
    } catch {
      getSelection()?.selectAllChildren(code.current!);
      setTold("selected: copy it with the keyboard");
    }
  };
  return (
    <div class="command">
      <code ref={code} tabIndex={0}>{text}</code>
      <button type="button" onClick={copy}>Copy</button>
      <span role="status">{told}</span>
    </div>
  );
}

interface SelectProps { label: string; value: string; options: [string, string][]; onChange: (value: string) => void }

export function Select({ label, value, options, onChange }: SelectProps) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <select id={id} value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        {options.map(([name, title]) => <option key={name} value={name}>{title}</option>)}
      </select>
    </div>
  );
}

const THEMES: [string, string][] = [["", "as the system"], ["light", "light"], ["dark", "dark"]];
export const Theme = ({ state, go }: { state: State; go: Go }) => <Select label="Theme" value={state.theme} options={THEMES} onChange={(theme) => go({ theme }, { replace: true })} />;

interface ChecksProps { label: string; summary: string; options: [string, string][]; chosen: Set<string>; onChange: (chosen: Set<string>) => void }

export function Checks({ label, summary, options, chosen, onChange }: ChecksProps) {
  return (
    <details class="checks" onKeyDown={(event) => {
      if (event.key !== "Escape") return;
      event.currentTarget.open = false;
      event.currentTarget.querySelector("summary")!.focus();
    }}>
      <summary>{label}: {summary}</summary>
      <fieldset>
        <legend class="hidden">{label}</legend>
        {options.map(([name, title]) => (
          <label key={name}>
            <input type="checkbox" checked={chosen.has(name)} onChange={(event) => {
              const next = new Set(chosen);
              if (event.currentTarget.checked) next.add(name);
              else next.delete(name);
              onChange(next);
            }} />
            {title}
          </label>
        ))}
      </fieldset>
    </details>
  );
}
