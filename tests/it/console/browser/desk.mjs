// A run is watched live, and an action is changed and allowed.
import assert from "node:assert/strict";
import { base, fits, open, play, step, until } from "./chromium.mjs";

await play(withScript, withoutScript);

async function start(page, text) {
  await page.goto(`${base}/runs`);
  await page.click("#start summary");
  await page.fill("#start-type", "test.desk");
  await page.fill("#start-data", JSON.stringify({ text }));
  await page.click("#start button");
  await page.waitForURL(/\/runs\/run_/);
}

async function withScript() {
  const { page, problems } = await open({});
  const watched = await open({});
  await watched.page.goto(`${base}/runs`);
  // The stream is there before the run begins: new runs are counted, not put in between.
  await watched.page.waitForFunction(() => performance.getEntriesByType("resource").length >= 0);

  step("a run is started, and watched until it asks");
  await start(page, "by hand");
  const run = page.url().split("/").pop();
  await page.waitForSelector(".question");
  assert.equal(await page.locator(".badge.ask").first().isVisible(), true);
  await watched.page.waitForSelector("#fresh:not([hidden])");
  assert.match(await watched.page.textContent("#fresh"), /new runs? · show/);
  await watched.page.click("#fresh");
  await watched.page.waitForSelector(`#${run}`);

  step("what the tool does not take is not sent, and stays as it was typed");
  await page.click(".verdicts summary");
  await page.fill(".verdicts textarea", '{"part": 7}');
  await page.click('button[value="change"]');
  await page.waitForSelector(".wrong");
  assert.equal(await page.inputValue(".verdicts textarea"), '{"part": 7}');

  step("the action is changed and allowed, and the run is watched to its end without loading the page again");
  await page.fill(".verdicts textarea", '{"part": "fan"}');
  await page.click('button[value="change"]');
  await page.waitForURL(new RegExp(`${run}\\?done=approved`));
  await page.waitForSelector("#standing .badge.good");
  assert.equal(await page.textContent("#standing .badge.good"), "completed");
  await page.waitForSelector(".timeline li.good:last-child");
  await page.waitForFunction(() => document.querySelectorAll(".timeline .badge.good").length >= 2);

  step("the row in the list has changed in its place");
  await watched.page.waitForSelector(`#${run} .badge.good`);

  step("what is asked for is in the address");
  await watched.page.click('.states label:has-text("completed")');
  await watched.page.waitForURL(/\/runs\?status=completed$/);
  await watched.page.waitForSelector(`#${run}`);
  await watched.page.click('.states label:has-text("failed")');
  await watched.page.waitForURL(/status=completed&status=failed|status=failed&status=completed/);

  step("runs are found by a tool that they called");
  await watched.page.goto(`${base}/runs`);
  await watched.page.click("#narrow summary");
  assert.deepEqual(await watched.page.locator("#tools option").evaluateAll((all) => all.map((one) => one.value)), ["repair"]);
  for (const [tool, found] of [["repair", 1], ["nothing", 0]]) {
    await watched.page.fill("#f-tool", tool);
    await watched.page.press("#f-tool", "Enter");
    await watched.page.waitForURL(new RegExp(`/runs\\?tool=${tool}$`));
    assert.equal(await watched.page.locator(`#${run}`).count(), found);
  }

  step("a slash finds a run by its id");
  await watched.page.keyboard.press("/");
  assert.equal(await watched.page.evaluate(() => document.activeElement.id), "find");
  await watched.page.keyboard.type(run);
  await watched.page.keyboard.press("Enter");
  await watched.page.waitForURL(new RegExp(run));

  step("no page scrolls sideways");
  for (const width of [390, 768, 1440, 1920]) {
    await page.setViewportSize({ width, height: 900 });
    for (const path of [`/runs/${run}`, "/runs", "/approvals", "/nothing"]) {
      await page.goto(base + path);
      await fits(page);
    }
  }
  assert.deepEqual([...problems, ...watched.problems], []);
}

async function withoutScript() {
  step("the same with JavaScript off");
  const { page } = await open({ javaScriptEnabled: false, viewport: { width: 390, height: 844 } });
  await start(page, "without a script");
  const run = page.url().split("/").pop();
  await until(page, ".question");
  await page.goto(`${base}/approvals`);
  await page.click(`article:has(a[href$="${run}"]) summary`);
  await page.fill(`article:has(a[href$="${run}"]) textarea`, '{"part": "fan"}');
  await page.click(`article:has(a[href$="${run}"]) button[value="change"]`);
  await page.waitForURL(/\/approvals\?done=approved/);
  assert.match(await page.textContent(".notice"), /Approved/);
  await page.goto(`${base}/runs/${run}`);
  await until(page, "#standing .badge.good");
  await page.goto(`${base}/runs?status=completed`);
  assert.equal(await page.locator(`#${run}`).count(), 1);
}
