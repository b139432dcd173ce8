// Chromium, for all that people do in the console. Arguments: the gateway's address, where playwright-core is, and what the test
// itself wants to tell.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

export const [base, modules, ...told] = process.argv.slice(2);
const { chromium } = createRequire(`${modules}/`)("playwright-core");
const LIMIT_MS = 30_000;
export const step = (words) => console.log(words);

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});

// One scene after the other.
export async function play(...scenes) {
  try {
    for (const scene of scenes) await scene();
  } finally {
    await browser.close();
  }
}

// A page of somebody who was never here, and what went wrong on it.
export async function open(options) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(LIMIT_MS);
  const problems = [];
  page.on("pageerror", (problem) => problems.push(problem.message));
  page.on("console", (message) => { if (/Content Security Policy/.test(message.text())) problems.push(message.text()); });
  return { page, problems };
}

export async function fits(page) {
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(wider, 0, `${page.url()} scrolls sideways`);
}

// Loads the page again until it has this.
export async function until(page, selector) {
  const end = Date.now() + LIMIT_MS;
  while ((await page.locator(selector).count()) === 0) {
    assert.ok(Date.now() < end, `no ${selector} on ${page.url()}`);
    await page.waitForTimeout(200);
    await page.reload();
  }
}
