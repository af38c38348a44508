"""The stylesheet of the page: system fonts, a readable measure, tables that scroll by themselves, and print."""

STYLE = """
:root {
  --ink: #1d1d1f; --soft: #5b5b60; --rule: #d8d8dc; --faint: #f5f5f3; --link: #0b5394;
  --better: #00664d; --worse: #9c4300;
  --serif: Charter, "Bitstream Charter", "Sitka Text", "Iowan Old Style", Cambria, Georgia, "Noto Serif", serif;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", Arial, sans-serif;
  --mono: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace;
}
* { box-sizing: border-box; }
html { color-scheme: light; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: #fff; color: var(--ink); font: 1.0625rem/1.6 var(--serif); }
main, header, footer { max-width: 70rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 3rem; }
h1, h2, h3 { font-family: var(--sans); line-height: 1.25; font-weight: 650; letter-spacing: -0.01em;
  overflow-wrap: anywhere; }
h1 { font-size: clamp(1.6rem, 1.2rem + 2vw, 2.3rem); margin: 0 0 .4rem; }
h2 { font-size: 1.4rem; margin: 3.2rem 0 .8rem; padding-top: 1rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1.08rem; margin: 2rem 0 .5rem; }
p, ul.plain, ol.contents { max-width: 42rem; }
p { margin: .6rem 0; overflow-wrap: break-word; }
a { color: var(--link); text-decoration-thickness: .06em; text-underline-offset: .15em; }
code { font: .86em/1.4 var(--mono); overflow-wrap: anywhere; }
.meta { color: var(--soft); font: .92rem/1.5 var(--sans); margin: 0; }
ul.plain { padding-left: 1.2rem; margin: .6rem 0; }
ul.plain li { margin: .3rem 0; overflow-wrap: anywhere; }
nav { margin: 1.6rem 0 0; padding: .9rem 0 .3rem; border-top: 1px solid var(--rule); }
nav h2 { font-size: .95rem; margin: 0 0 .3rem; padding: 0; border: 0; }
ol.contents { margin: 0; padding-left: 1.3rem; columns: 2 16rem; font: .95rem/1.7 var(--sans); }
.abstract { margin: 1.6rem 0 0; padding: 1.1rem 1.3rem .9rem; background: var(--faint);
  border-left: 3px solid var(--ink); }
.abstract h2 { margin: 0 0 .4rem; padding: 0; border: 0; font-size: 1.15rem; }
.abstract p, .abstract ul.plain { max-width: 50rem; }

figure { margin: 1.5rem 0 2.1rem; }
figcaption { font: .9rem/1.5 var(--sans); color: var(--soft); max-width: 50rem; margin: 0 0 .6rem;
  overflow-wrap: break-word; }
figcaption b { color: var(--ink); font-weight: 650; }
figure.drawn figcaption { margin: .7rem 0 0; }
.scroll { overflow-x: auto; max-width: 100%; }
.scroll:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }

table { border-collapse: collapse; width: max-content; font: .86rem/1.42 var(--sans);
  font-variant-numeric: tabular-nums lining-nums;
  border-top: 1.6px solid var(--ink); border-bottom: 1.6px solid var(--ink); }
th, td { padding: .34rem .8rem .34rem 0; text-align: left; vertical-align: top; white-space: nowrap; }
th:last-child, td:last-child { padding-right: 0; }
table.figures th, table.figures td, table.words th, table.words td { padding-right: 1.1rem; }
thead th { font-weight: 650; vertical-align: bottom; border-bottom: 1px solid var(--ink); }
thead th.group { border-bottom: 1px solid var(--rule); font-weight: 650; }
tbody th { font-weight: 500; }
tbody tr + tr > *, tbody + tbody tr:first-child > * { border-top: 1px solid var(--rule); }
tbody tr.published > * { border-top: 0; padding-top: 0; color: var(--soft); font-style: italic; }
tbody tr.published th { padding-left: .9rem; font-weight: 400; }
tbody.baselines tr > * { color: var(--ink); }
tbody + tbody.baselines tr:first-child > * { border-top: 1px solid var(--ink); }
th.block { font-weight: 650; padding-top: .9rem; }
td .mean, td .interval, td .lack { display: block; white-space: nowrap; }
td .interval { color: var(--soft); font-size: .92em; }
td .lack { color: var(--worse); font-size: .92em; white-space: normal; max-width: 8rem;
  overflow-wrap: anywhere; }
tbody.baselines .mean, tbody.baselines .interval { display: inline; margin-right: .7em; }
strong.mean { font-weight: 700; }
td.none { color: var(--soft); }
abbr { text-decoration: none; }
table.words td .lack { max-width: 16rem; }
td.words { white-space: normal; max-width: 19rem; }
sup { line-height: 0; font-size: .74em; padding-left: .08em; color: var(--soft); }
.notes { font: .82rem/1.5 var(--sans); color: var(--soft); margin: .5rem 0 0; max-width: 50rem; }
.reading { white-space: nowrap; font-weight: 600; }
.reading.unclear, .reading.untold { font-weight: 400; color: var(--soft); }
table.runs { font-size: .78rem; }
table.runs th, table.runs td { padding-right: .9rem; }
table.runs td.long { white-space: normal; overflow-wrap: anywhere; width: 15rem; min-width: 11rem; }
.status-failed, .status-missing, .status-interrupted, .status-collapsed { color: var(--worse); font-weight: 600; }

.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr)); gap: 1.4rem 2rem; }
.plots.small { grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); }
.plots > div { overflow-x: auto; min-width: 0; }
.plots svg { min-width: 25rem; display: block; width: 100%; height: auto; max-width: 36rem; overflow: visible; }
.plots.small svg { min-width: 0; max-width: 26rem; }
figure svg text { font-family: var(--sans) !important; }
.strip { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(44%, 9.4rem), 1fr)); gap: .6rem;
  margin: .3rem 0 1rem; }
.strip.large { grid-template-columns: repeat(auto-fill, minmax(min(30%, 14rem), 1fr)); max-width: 54rem; }
.strip div { min-width: 0; }
.strip img { display: block; width: 100%; height: auto; background: #000; }
.strip span { display: block; font: .78rem/1.35 var(--sans); color: var(--soft); margin: .2rem 0 .5rem;
  overflow-wrap: anywhere; }
.gone { font: .86rem/1.45 var(--sans); color: var(--worse); border: 1px dashed var(--rule); padding: .5rem .7rem;
  overflow-wrap: anywhere; }
.about { font: .9rem/1.45 var(--sans); margin: .9rem 0 .2rem; max-width: none; overflow-wrap: anywhere; }
.key { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; font: .8rem/1.5 var(--sans); color: var(--soft);
  margin: .2rem 0; padding: 0; list-style: none; }
.key li { display: flex; align-items: center; gap: .4rem; }
.key i { width: .85rem; height: .85rem; border: 1px solid #888; flex: none; }
dl.settings { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 0 2rem;
  font: .82rem/1.5 var(--sans); margin: .6rem 0; }
dl.settings div { display: flex; justify-content: space-between; gap: 1rem; border-bottom: 1px solid var(--rule);
  padding: .14rem 0; }
dl.settings dt { color: var(--soft); }
dl.settings dd { margin: 0; text-align: right; overflow-wrap: anywhere; }
details { margin: 1rem 0; }
summary { font: 650 1rem/1.5 var(--sans); cursor: pointer; }
footer { margin-top: 3.5rem; padding-bottom: 3rem; font: .84rem/1.55 var(--sans); color: var(--soft); }
footer p { border-top: 1px solid var(--rule); padding-top: 1rem; max-width: none; }

@media (max-width: 40rem) {
  body { font-size: 1rem; }
  header { padding-top: 1.6rem; }
  .abstract { margin-left: -.4rem; margin-right: -.4rem; padding: .9rem 1rem; }
}
@media print {
  @page { size: A4; margin: 15mm 14mm; }
  html { font-size: 9.2pt; }
  main, header, footer { max-width: none; padding: 0; }
  header { padding-top: 0; }
  h2 { margin-top: 1.8rem; }
  h1, h2, h3, .about, figure:not(.drawn) > figcaption { break-after: avoid; }
  figure.drawn > figcaption, .key { break-before: avoid; }
  figure, figcaption, .strip, tr, .abstract, dl.settings div, li { break-inside: avoid; }
  figure.breaks { break-inside: auto; }
  h2 + *, h3 + *, .about + * { break-before: avoid; }
  thead { display: table-header-group; }
  a { color: inherit; text-decoration: none; }
  .scroll { overflow: visible; }
  table { font-size: 7.2pt; }
  table.figures th, table.figures td { padding-right: .7rem; }
  table.runs { font-size: 5.6pt; width: 100%; }
  table.runs th, table.runs td { padding-right: .5rem; }
  table.runs tbody th, table.runs td.long { white-space: normal; overflow-wrap: anywhere; min-width: 0; }
  .plots svg { min-width: 0; }
  td .lack { min-width: 5rem; }
  .plots { grid-template-columns: 1fr 1fr; }
  .plots.small { grid-template-columns: 1fr 1fr 1fr; }
  .strip { grid-template-columns: repeat(6, 1fr); }
  .strip.large { grid-template-columns: repeat(3, 1fr); max-width: 34rem; }
  details > summary { list-style: none; }
  details::details-content { display: block; content-visibility: visible; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
