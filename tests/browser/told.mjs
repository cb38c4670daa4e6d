// What devices tell and are told beside the picture, on a real node with the demo cameras: alarms that a device remembers, new
// software followed to its end, a target marked on the picture, notices, channels on the map, a channel's own subscriptions.
//
// Asserts what stands in the document and which calls go out, never how long something takes.

import { spawn } from 'node:child_process';

const WAIT_MS = Number(process.env.WAIT_MS ?? 60_000);
/** A recorder of the simulator: a directory and cameras under it. */
const RECORDER = '34020000001180000321';

/** Starts simulated devices against the node; ended by what it returns. */
function simulate(program, sip, ...args) {
  const child = spawn(program, ['simulate', '--server', sip, '--media', 'none', ...args], { stdio: 'ignore', env: { ...process.env, GANTRY_SIMULATE_PASSWORD: process.env.DEVICE_PASSWORD ?? '' } });
  return () => new Promise((resolve) => { child.once('exit', resolve); child.kill('SIGTERM'); });
}

/** `page` is signed in and shows one empty view; `cameras` are the demo's channels by name. */
export async function told({ page, check, need, node, cameras, shot }) {
  const at = (id) => page.getByTestId(id);
  const until = (body, argument) => page.waitForFunction(body, argument, { timeout: WAIT_MS });
  const { Gate } = cameras;
  const row = (c) => at(`channel-${c.puid}-${c.index}`);
  const unfold = async (key) => { if (!(await at(`fold-${key}`).evaluate((el) => el.open))) await at(`fold-${key}`).locator('summary').click(); };

  await check('a target is marked on the picture, and given up with Escape', async () => {
    await at('ptz-button').click();
    await row(Gate).click();
    await until(() => window.gantry.tiles()[0].state === 'playing');
    await at('track-Manual').click();
    await until(() => document.body.dataset.marking === 'true');
    await page.keyboard.press('Escape');
    await until(() => !document.body.dataset.marking);
    need(await at('ptz').isVisible(), 'Escape closed the panel too');
    await at('track-Manual').click();
    const box = await at('tile-1').boundingBox();
    const order = page.waitForResponse(/\/device\/control\//);
    await page.mouse.move(box.x + box.width * 0.45, box.y + box.height * 0.45);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.6, box.y + box.height * 0.55);
    await page.mouse.up();
    const sent = JSON.parse((await order).request().postData());
    need((await order).status() === 204, `the answer was ${(await order).status()}`);
    need(sent.order === 'targetTrack' && sent.mode === 'Manual' && sent.area.lengthX > 0 && sent.area.midPointX < sent.area.length, `sent ${JSON.stringify(sent)}`);
    await at('track-result').locator('.done').waitFor();
    await shot('tracking');
    await page.evaluate(() => window.gantry.closeAll());
    await at('track-Manual').click();
    need(!(await page.evaluate(() => document.body.dataset.marking)), 'a target could be marked on no picture');
    return JSON.stringify(sent.area);
  });

  await check('new software is followed to its end', async () => {
    await at('device-button').click();
    await unfold('upgrade');
    const fold = at('fold-upgrade');
    await fold.locator('[data-field=firmware]').fill('7.1');
    await fold.locator('[data-field=fileUrl]').fill('http://127.0.0.1/7.1.bin');
    const ordered = page.waitForRequest(/\/bvcsp\/v1\/pu\/upgrade\/PU_/);
    await at('upgrade-send').click();
    await at('ask-yes').click();
    need((await ordered).method() === 'POST', 'it was not ordered');
    await at('upgrade-result').locator('[data-state=running]').waitFor();
    await at('upgrade-result').locator('[data-state=done]').waitFor({ timeout: WAIT_MS });
    const said = await at('upgrade-result').textContent();
    need(said.includes('7.1'), `it says ${said}`);
    return said;
  });

  await check('a device is asked for the alarms that it remembers', async () => {
    await unfold('alarms');
    const asked = page.waitForRequest(/\/device\/query\//);
    await at('alarms-ask').click();
    const sent = JSON.parse((await asked).postData());
    need(sent.query === 'alarms' && /^\d{4}-\d\d-\d\dT\d\d:\d\d:00$/.test(sent.startAlarmTime), `sent ${JSON.stringify(sent)}`);
    await at('alarm-found').first().waitFor({ timeout: WAIT_MS });
    await shot('alarm-query');
    // What is told again is no new alarm.
    await at('alarms-button').click();
    const shown = await page.$$eval('[data-testid=alarm] .num.dim', (all) => all.map((e) => e.textContent));
    need(new Set(shown).size === shown.length, `alarms are listed twice: ${shown}`);
    await at('device-button').click();
    return `${await at('alarm-found').count()} alarms`;
  });

  await check('what else a device tells is listed as it comes, and kept', async () => {
    await unfold('subs');
    const ptz = at('subs').locator('[data-field=ptz]');
    await ptz.check();
    await until(() => /active/.test(document.querySelector('[data-testid=subs] [data-field=ptz]')?.parentElement.textContent));
    // With each order the camera tells where it looks.
    const order = () => node.gantry('POST', `/device/control/${Gate.puid}/${Gate.index}`, { order: 'ptzPrecise', pan: 123, tilt: 4, zoom: 2 });
    await order();
    while (Math.abs((await node.gantry('GET', `/ptz/${Gate.puid}/${Gate.index}`)).pan - 123) > 0.01) await page.waitForTimeout(200);
    await order();
    await at('alarms-button').click();
    await at('tab-notices').click();
    await until(() => /123\.0°/.test(document.querySelector('[data-testid=notice]')?.textContent));
    await shot('notices');
    await at('tab-alarms').click();
    await at('device-button').click();
    await unfold('notices');
    await at('notices-kept').getByTestId('notice').first().waitFor();
    await ptz.uncheck();
    await until(() => !document.querySelector('[data-testid=subs] [data-field=ptz]')?.checked);
    return at('notices-kept').getByTestId('notice').first().textContent();
  });
}

/** What needs a recorder with several channels. `sockets` gives the page's socket of positions, and that of notices. */
export async function recorder({ page, check, need, node, program, sip, sockets, shot }) {
  const at = (id) => page.getByTestId(id);
  const until = (body, argument) => page.waitForFunction(body, argument, { timeout: WAIT_MS });
  const puid = `PU_${RECORDER}`;
  const end = simulate(program, sip, '--count', '1', '--channels', '4', '--id-base', RECORDER);
  try {
    await page.waitForSelector(`[data-testid=device-${puid}]`, { timeout: WAIT_MS });
    const cameras = (await until((id) => window.gantry.devices().find((d) => d.id === id && d.channels?.length > 1)?.channels, puid)).jsonValue();
    const [first, second] = (await cameras).slice(-2);

    await check('one channel of a recorder is subscribed to by itself', async () => {
      const device = at(`device-${puid}`);
      if ((await device.getAttribute('aria-expanded')) !== 'true') await device.click();
      // Cameras hang under the node of the directory.
      const camera = at(`channel-${puid}-${first.index}`);
      const folder = page.locator(`[data-testid^="node-${puid}"]`).first();
      await camera.or(folder).first().waitFor();
      if (!(await camera.count())) await folder.click();
      await camera.click();
      if ((await at('device-button').getAttribute('aria-pressed')) !== 'true') await at('device-button').click();
      await until((id) => document.querySelector('[data-testid=device] .code')?.textContent.startsWith(id), puid);
      await at('fold-subs').locator('summary').click();
      const field = at('subs').locator(`[data-field=position-${first.index}]`);
      const put = page.waitForResponse((r) => r.request().method() === 'PUT' && /subscriptions\/position\?channel=/.test(r.url()));
      await field.click();
      need((await put).status() === 204 || (await put).ok(), `the answer was ${(await put).status()}`);
      const { data } = await node.gantry('GET', `/devices/${puid}/subscriptions`);
      const made = data.find((s) => s.topic === 'position' && s.channel === first.index);
      need(made && made.state !== 'none', `the node has ${JSON.stringify(data)}`);
      await shot('channel-subscription');
      return JSON.stringify(made);
    });

    await check('channels of a recorder move on the map by themselves', async () => {
      await page.evaluate(() => window.gantry.closeAll());
      await at('space-map').click();
      const place = (index, lng) => sockets.positions.send(JSON.stringify({ devId: puid, subDevIdx: index, channelId: RECORDER, lng, lat: 31.23, height: 0, time: 1_792_000_000 }));
      for (const lng of [121.475, 121.476]) { place(first.index, lng); place(second.index, lng + 0.001); }
      await until((names) => {
        const shown = [...document.querySelectorAll('[data-testid=marker]')].map((el) => el.textContent);
        return names.every((name) => shown.some((s) => s.includes(name))) && document.querySelectorAll('[data-testid=track]').length >= 2;
      }, [first.name, second.name]);
      await shot('map-channels');
      await at('space-live').click();
      return `${first.name}, ${second.name}`;
    });

    await check('an upload of a video is told', async () => {
      sockets.notices.send(JSON.stringify({ type: 'videoUpload', puid, index: first.index, time: 1_792_000_000, data: { time: '2026-06-14T12:01:02', longitude: 121.475, latitude: 31.23 } }));
      if ((await at('alarms-button').getAttribute('aria-pressed')) !== 'true') await at('alarms-button').click();
      await at('tab-notices').click();
      const notice = page.locator('[data-testid=notice][data-kind=videoUpload]');
      await notice.waitFor();
      const said = await notice.textContent();
      need(said.includes(first.name) && said.includes('2026-06-14T12:01:02'), `it says ${said}`);
      await notice.getByRole('button').click();
      await until(() => !document.querySelector('#map').hidden);
      await at('space-live').click();
      await at('tab-alarms').click();
      return said;
    });
  } finally {
    await end();
  }
}

/** A lower platform of 100,000 channels: each level of its tree is there within `limitMs` of the click. */
export async function bigTree({ page, check, need, node, program, sip, limitMs, shot }) {
  const code = '34020000002000000321';
  const puid = `PU_${code}`;
  const end = simulate(program, sip, '--platform', '100000', '--id-base', code);
  try {
    await check('a level of a platform with 100,000 channels opens at once', async () => {
      await page.waitForFunction((id) => window.gantry.devices().find((d) => d.id === id)?.channelCount === 100_000 || (document.querySelector('#refresh').click(), false), puid, { timeout: WAIT_MS * 2, polling: 1000 });
      while (!(await node.gantry('POST', `/devices/${puid}/tree`, { page: 0, pageSize: 1, filter: { parent: '' } })).data.length) await page.waitForTimeout(200);
      const device = page.getByTestId(`device-${puid}`);
      if ((await device.getAttribute('aria-expanded')) === 'true') await device.click();
      // What was asked for before is asked for again.
      const before = await page.evaluateHandle(() => window.gantry.devices());
      await page.click('#refresh');
      await page.waitForFunction((list) => window.gantry.devices() !== list, before);
      const levels = [];
      for (let selector = `[data-testid="device-${puid}"]`; ;) {
        const found = await page.evaluate(openLevel, selector);
        levels.push(found);
        if (!found.folds) break;
        selector = `[id="${found.id}"]`;
      }
      await shot('big-tree');
      const said = levels.map((l) => `${l.ms.toFixed(0)} ms for ${l.rows} rows`).join(', ');
      need(levels.length >= 3, `only ${levels.length} levels: ${said}`);
      need(levels.every((l) => l.ms < limitMs), `${said}, the limit is ${limitMs} ms`);
      return said;
    });
  } finally {
    await end();
  }
}

/** In the page: clicks a row and waits until the first row below it stands in the document. */
async function openLevel(selector) {
  const { id } = document.querySelector(selector);
  const before = document.querySelector('.tree-space').clientHeight;
  const start = performance.now();
  document.getElementById(id).click();
  while (performance.now() - start < 30_000) {
    const [row, next] = [document.getElementById(id), document.getElementById(id)?.nextElementSibling];
    const below = next && Number(next.getAttribute('aria-level')) === Number(row.getAttribute('aria-level')) + 1;
    if (below && /^row-.+/.test(next.id)) {
      const rows = (document.querySelector('.tree-space').clientHeight - before) / row.clientHeight;
      return { ms: performance.now() - start, id: next.id, folds: next.hasAttribute('aria-expanded'), rows };
    }
    await new Promise((resolve) => requestAnimationFrame(resolve));
  }
  return { ms: Infinity, rows: 0 };
}
