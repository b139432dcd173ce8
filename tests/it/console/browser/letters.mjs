// Dead letters are looked at and handled again. Told: the cause, and the run whose letter is handled by itself; the other letters
// of the cause are handled together.
import assert from "node:assert/strict";
import { base, fits, open, play, step, told, until } from "./chromium.mjs";

const [cause, run, ...others] = told;
const letters = `#cause-${cause} td[data-label="letters"]`;

await play(withScript, withoutScript);

async function withScript() {
  const { page, problems } = await open({});
  const watched = await open({});
  await watched.page.goto(`${base}/dlq`);
  assert.equal(await watched.page.textContent(letters), String(1 + others.length));

  step("a cause is looked at, and one of its letters");
  await page.goto(`${base}/dlq`);
  assert.match(await page.textContent(`#cause-${cause}`), /version 2/);
  await page.click(`#cause-${cause} a`);
  await page.waitForURL(new RegExp(`/dlq/cause/${cause}$`));
  assert.equal(await page.locator('tr[id^="letter-"]').count(), 1 + others.length);
  await page.click(`tr:has(a[href="/runs/${run}"]) a[href^="/dlq/"]`);
  await page.waitForURL(/\/dlq\/\d+$/);
  assert.match(await page.textContent("#payload"), /"new": true/);
  assert.match(await page.textContent(".banner"), /Its run waits/);
  for (const width of [390, 1440]) {
    await page.setViewportSize({ width, height: 900 });
    await fits(page);
  }

  step("it is handled again, with a reason, by the keyboard alone");
  const letter = page.url().split("/").pop();
  await page.focus("#why");
  await page.keyboard.type("mended in a browser");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/dlq\?did=redriven/);
  assert.match(await page.textContent(".notice"), /handled again/);
  assert.equal(await page.textContent(letters), String(others.length));

  step("who looked on sees that it is gone without loading the page again");
  const fewer = ([selector, left]) => document.querySelector(selector)?.textContent === left;
  await watched.page.waitForFunction(fewer, [letters, String(others.length)]);

  step("whoever comes late is told who did it, and why");
  const late = await page.goto(`${base}/dlq/${letter}`);
  assert.equal(late.status(), 409);
  assert.match(await page.textContent("main"), /mended in a browser/);

  step("its run goes on and ends");
  await page.goto(`${base}/runs/${run}`);
  await page.waitForSelector("#standing .badge.good");
  assert.equal(await page.textContent("#standing .badge.good"), "completed");
  assert.deepEqual([...problems, ...watched.problems], []);
}

async function withoutScript() {
  step("the others of the cause are handled together, with JavaScript off");
  const { page } = await open({ javaScriptEnabled: false, viewport: { width: 390, height: 844 } });
  await page.goto(`${base}/dlq/cause/${cause}`);
  await page.fill("#rate", "20/s");
  await page.fill("#why-redrive", "mended all");
  await page.click('form[action$="/redrive"] button');
  await page.waitForURL(/\/dlq\?did=/);
  await until(page, ".empty");
  assert.match(await page.textContent(".empty"), /No dead letters/);
  assert.match(await page.textContent(".jobs-list"), new RegExp(`${others.length} of ${others.length} letters`));
  assert.match(await page.textContent(".jobs-list"), /mended all/);
  for (const other of others) {
    await page.goto(`${base}/runs/${other}`);
    await until(page, "#standing .badge.good");
  }
}
