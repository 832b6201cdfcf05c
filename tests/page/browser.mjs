// The page in Chromium, as `tests/daemon/browser.rs` starts it: a store `acme` with three held fields, a store `bolt` that
// stands at a rail, and a token to sign in with. Ends with 0 only if all of it was so. No script of ours runs on the page:
// whoever uses it here has scripts switched off; only the check of accessibility needs them.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import assert from "node:assert/strict";

const { ATTUNE_URL: url, ATTUNE_TOKEN: token, ATTUNE_EMAIL: email } = process.env;
const { ATTUNE_PACKAGES: packages, ATTUNE_PICTURES: pictures } = process.env;
const load = createRequire(join(packages, "package.json"));
const { chromium } = load("playwright-core");
const axe = readFileSync(load.resolve("axe-core/axe.min.js"), "utf8");

const WIDE = { width: 1280, height: 900 };
const NARROW = { width: 360, height: 740 };

const browser = await chromium.launch({
  executablePath: process.env.ATTUNE_CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
  ],
});

/** What the browser complained about: a policy that was broken, a page that was not found. */
const complaints = [];

async function open(options) {
  const context = await browser.newContext({ viewport: WIDE, ...options });
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  page.on("console", (message) => complaints.push(`${page.url()}: ${message.text()}`));
  page.on("pageerror", (error) => complaints.push(`${page.url()}: ${error}`));
  return { context, page };
}

/** What the keyboard reaches, one after the other, until it comes round. */
async function reached(page) {
  const order = [];
  for (let presses = 0; presses < 80; presses += 1) {
    await page.keyboard.press("Tab");
    const name = await page.evaluate(() => {
      const element = document.activeElement;
      if (!element || element === document.body) return null;
      const outline = getComputedStyle(element);
      const seen = outline.outlineStyle !== "none" && parseFloat(outline.outlineWidth) >= 2;
      const label = element.labels?.[0]?.textContent ?? element.getAttribute("aria-label") ?? element.textContent;
      return `${seen ? "" : "UNSEEN "}${label.trim().replace(/\s+/g, " ")}`;
    });
    if (name === null || name === order[0]) break;
    order.push(name);
  }
  return order;
}

/** What axe finds wrong, and whether the page is wider than the screen. */
async function examine(page, where) {
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const result = await globalThis.axe.run(document, {
      runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    });
    return result.violations.map((one) => `${one.id}: ${one.help}: ${one.nodes.map((node) => node.html).slice(0, 3)}`);
  });
  assert.deepEqual(found, [], `${where}: axe`);
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(wider, 0, `${where}: wider than the screen by ${wider}`);
}

/** Every page in light and dark, wide and narrow: examined, and a picture of each. */
async function look(cookies, kind, paths) {
  for (const [size, viewport] of [["1280", WIDE], ["360", NARROW]]) {
    for (const colorScheme of ["light", "dark"]) {
      const { context, page } = await open({ viewport, colorScheme });
      await context.addCookies(cookies);
      for (const [name, path] of paths) {
        const answer = await page.goto(url + path);
        assert.equal(answer.status(), 200, path);
        assert.match(answer.headers()["content-security-policy"], /^default-src 'none'; style-src 'self';/);
        await page.screenshot({ path: join(pictures, `${name}-${kind}-${size}-${colorScheme}.png`), fullPage: true });
        await examine(page, `${path} ${kind} ${size} ${colorScheme}`);
      }
      await context.close();
    }
  }
}

const pages = [["overview", "/"], ["store", "/stores/bolt"], ["crm", "/crms/erp"], ["held", "/held"]];
await look([], "out", [...pages, ["sign-in", "/sign-in"], ["record", "/record"]]);

const { context, page } = await open({ javaScriptEnabled: false });

// Without a session: states and keys, no values, no buttons that act.
await page.goto(`${url}/held`);
const held = await page.locator("li.card").count();
assert.ok(held >= 3, `${held} are held`);
assert.equal(await page.getByText("Purchaser").count(), 0);
assert.equal(await page.getByRole("button", { name: "Take the store’s" }).count(), 0);

// In, by the keyboard alone.
await page.getByRole("link", { name: "Sign in" }).click();
const order = await reached(page);
const expected = ["Skip to the content", "Overview", "Held", "Record", "Sign in", "Admin token", "Sign in"];
assert.deepEqual(order, expected, "the order of focus");
await page.goto(`${url}/sign-in?next=/held`);
await page.getByLabel("Admin token").focus();
await page.keyboard.type("not the token");
await page.keyboard.press("Enter");
await page.getByRole("alert").getByText("This is not the token.").waitFor();
await page.getByLabel("Admin token").fill(token);
await page.keyboard.press("Enter");
await page.waitForURL(`${url}/held`);
const cookies = await context.cookies();
assert.deepEqual(cookies.map(({ httpOnly, sameSite }) => [httpOnly, sameSite]), [[true, "Strict"]]);

await look(cookies, "in", [...pages, ["record", "/record?q=2"], ["acme", "/stores/acme"]]);

// The picture of the README.
await page.goto(`${url}/`);
await page.screenshot({ path: join(pictures, "page.png"), clip: { x: 0, y: 0, width: 1280, height: 690 } });
await page.goto(`${url}/held`);

// Decide on a held field, both values before one's eyes.
const card = page.locator("li.card").filter({ hasText: "customer 2 of acme" });
assert.equal(await card.getByText("Head of purchasing").count(), 1);
assert.equal(await card.getByText("Purchaser", { exact: true }).count(), 1);
assert.equal(await page.title(), "Held · Attune", "a value ran as a script");
await card.getByRole("button", { name: "Take the store’s" }).focus();
await page.keyboard.press("Enter");
await page.getByRole("status").getByText("take the store's value with the next pass").waitFor();
for (let looks = 0; (await card.count()) > 0 && !(await card.getByText("The next pass takes").count()); looks += 1) {
  assert.ok(looks < 50, "it is still held");
  await page.goto(`${url}/held`);
}

// Pause and resume a store.
await page.goto(`${url}/stores/acme`);
await page.getByRole("button", { name: "Pause acme" }).click();
await page.getByRole("status").getByText("acme is paused").waitFor();
await page.getByRole("button", { name: "Resume acme" }).click();
await page.getByRole("status").getByText("acme is resumed").waitFor();

// Let through what a rail stopped.
await page.goto(`${url}/stores/bolt`);
await page.getByRole("button", { name: /^Let .+ changes through$/ }).click();
await page.getByRole("status").getByText("are let through by the next pass").waitFor();

// Look somebody up by an e-mail, which does not come into the address.
await page.getByRole("link", { name: "Record" }).click();
await page.getByLabel("A customer’s id, a contact’s key, or an e-mail").fill(email);
await page.getByRole("button", { name: "Look up" }).click();
await page.getByRole("heading", { name: /customer 2 of acme/ }).waitFor();
assert.equal(page.url(), `${url}/record`);
assert.ok((await page.getByText("Linked").count()) >= 1);

// Out.
await page.getByRole("button", { name: "Sign out" }).click();
await page.waitForURL(`${url}/`);
await page.goto(`${url}/held`);
assert.equal(await page.getByRole("button", { name: "Take the store’s" }).count(), 0);

await browser.close();
// The attempt with a wrong token was refused, as it should be.
const unforeseen = complaints.filter((complaint) => !/sign-in: .*status of 403/.test(complaint));
assert.deepEqual(unforeseen, [], "the browser complains");
console.log("the page was used, examined and photographed in Chromium");
