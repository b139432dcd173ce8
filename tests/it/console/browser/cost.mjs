// What was spent, to the cent, for whom it is to see. Told: the bill as JSON, which is what Claude charged, in billionths of a dollar:
//   {"of": {WORKFLOW: {"usd_nano": …, "calls": …, "model": …, "tenant": …}}, "tokens": {"all": …, TENANT: …}}
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { base, fits, open, play, step, told } from "./chromium.mjs";

const bill = JSON.parse(told[0]);
const all = Object.entries(bill.of).map(([workflow, line]) => ({ workflow, ...line }));
const sum = (lines, of) => lines.reduce((total, line) => total + line[of], 0);

await play(
  () => ofEverybody({}),
  () => ofTenant("acme", { javaScriptEnabled: false, viewport: { width: 390, height: 844 } }),
);

// What a page shows must be this, in as many places as it shows; two of them are cents.
function isMoney(shown, nano, where) {
  isMoneyInAll([shown], nano, where);
}

// The same of what is shown in parts, each of them rounded: a day may have ended in between.
function isMoneyInAll(shown, nano, where) {
  let [total, slack] = [0, 1e-9];
  for (const one of shown) {
    const found = /^\$(\d+\.(\d{2,}))$/.exec(one.trim().replaceAll("\u202f", ""));
    assert.ok(found, `${where}: ${one}`);
    total += Number(found[1]);
    slack += 10 ** -found[2].length / 2;
  }
  assert.ok(Math.abs(total - nano / 1e9) <= slack, `${where}: ${shown} of ${nano}`);
}

async function logIn(page, token) {
  await page.goto(`${base}/cost`);
  await page.waitForURL(/\/login\?next=/);
  await page.fill("#token", token);
  await page.click(".login button");
  await page.waitForURL(/\/cost$/);
}

// Rows of a table by the text of their first cell; of each, the text of its cells.
async function rows(page, selector) {
  const read = (trs) => trs.map((tr) => [...tr.children].map((cell) => cell.textContent));
  return new Map((await page.locator(`${selector} tbody tr`).evaluateAll(read)).map((cells) => [cells[0], cells]));
}

async function figure(page, name) {
  return page.textContent(`.figure:has(dt:text-is("${name}")) dd`);
}

// The table behind the chart: a row for each day, in the order of its head, the last column all of them.
async function isInChart(page, lines, name) {
  await page.click("#spent-show");
  assert.equal(await page.isVisible("#spent-numbers table"), true);
  const head = await page.locator("#spent-numbers thead th").allTextContents();
  const days = [...(await rows(page, "#spent-numbers")).values()];
  assert.equal(head.length, lines.length + 2, String(head));
  const column = (at) => days.map((day) => day.at(at)).filter((cell) => cell !== "$0");
  for (const line of lines) isMoneyInAll(column(head.indexOf(line[name])), line.usd_nano, `${line[name]} in ${head}`);
  isMoneyInAll(column(-1), sum(lines, "usd_nano"), "all days");
}

async function isInTables(page, lines) {
  const workflows = await rows(page, 'section[aria-label="Workflows"]');
  const models = await rows(page, 'section[aria-label="Models"]');
  assert.deepEqual([[...workflows.keys()].sort(), [...models.keys()].sort()],
    [lines.map((line) => line.workflow).sort(), lines.map((line) => line.model).sort()]);
  for (const line of lines) {
    isMoney(workflows.get(line.workflow)[1], line.usd_nano, line.workflow);
    isMoney(models.get(line.model)[1], line.usd_nano, line.model);
    assert.equal(workflows.get(line.workflow).at(-1), String(line.calls), line.workflow);
  }
  isMoney(await figure(page, "Spent"), sum(lines, "usd_nano"), "in all");
  assert.equal(await figure(page, "Calls to Claude"), String(sum(lines, "calls")));
}

async function isInFile(page, lines) {
  const [download] = await Promise.all([page.waitForEvent("download"), page.click('a.button:text-is("CSV")')]);
  assert.equal(download.suggestedFilename(), "usage.csv");
  const [head, ...days] = (await readFile(await download.path(), "utf8")).trim().split(/\r?\n/).map((line) => line.split(","));
  const found = new Map();
  for (const day of days) {
    const cell = Object.fromEntries(head.map((name, index) => [name, day[index]]));
    assert.match(cell.day, /^\d{4}-\d{2}-\d{2}$/);
    if (!cell.model) continue;
    const [usd_nano, calls] = found.get(`${cell.workflow} ${cell.model}`) ?? [0, 0];
    found.set(`${cell.workflow} ${cell.model}`, [usd_nano + Number(cell.usd_nano), calls + Number(cell.calls)]);
  }
  const wanted = lines.map((line) => [`${line.workflow} ${line.model}`, [line.usd_nano, line.calls]]);
  assert.deepEqual([...found].sort(), wanted.sort());
}

async function ofEverybody(options) {
  step("who may see all sees the whole bill: by workflow, by model, by the day, and as a file");
  const { page, problems } = await open(options);
  await logIn(page, bill.tokens.all);
  await isInTables(page, all);
  await isInChart(page, all, "workflow");
  await page.click('nav[aria-label="Stacked by"] a:text-is("by model")');
  await page.waitForURL(/by=model/);
  await isInChart(page, all, "model");
  await isInFile(page, all);
  for (const width of [390, 768, 1440, 1920]) {
    await page.setViewportSize({ width, height: 900 });
    await fits(page);
  }
  step("the dearest run is a run of the dearest workflow");
  const dearest = [...all].sort((one, other) => other.usd_nano - one.usd_nano)[0];
  assert.match(await page.textContent('section[aria-label="Dearest runs"] tbody tr'), new RegExp(dearest.workflow));
  assert.deepEqual(problems, []);
}

async function ofTenant(tenant, options) {
  step("a tenant sees its own part and no other, with JavaScript off");
  const { page } = await open(options);
  const own = all.filter((line) => line.tenant === tenant);
  await logIn(page, bill.tokens[tenant]);
  await isInTables(page, own);
  await isInChart(page, own, "workflow");
  await isInFile(page, own);
  const text = await page.textContent("main");
  for (const other of all.filter((line) => line.tenant !== tenant)) {
    assert.ok(!text.includes(other.workflow), `${other.workflow} is not ${tenant}'s`);
    assert.ok(!text.includes(other.model), `${other.model} is not what ${tenant} asked`);
  }
}
