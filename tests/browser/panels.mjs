// The page's panels on a real node with the four demo cameras: turning, alarms, the device, the map, in both languages.
//
// Asserts what stands in the document and which calls go out, never how long something takes. The demo is the node's own:
// Gate raises an alarm every so often, Hall cannot be turned, Van drives.

const WAIT_MS = Number(process.env.WAIT_MS ?? 60_000);

/** Runs all of it. `page` is signed in and shows one empty view; `cameras` are the demo's channels by name. */
export async function panels({ page, check, need, node, cameras, shot }) {
  const at = (id) => page.getByTestId(id);
  const row = (c) => at(`channel-${c.puid}-${c.index}`);
  const until = (body, argument) => page.waitForFunction(body, argument, { timeout: WAIT_MS });
  const text = (selector, part) => until(([s, p]) => document.querySelector(s)?.textContent.includes(p), [selector, part]);
  const sent = [];
  page.on('request', (request) => { if (/\/pu\/ptz\/camera\//.test(request.url())) sent.push(JSON.parse(request.postData())); });
  const { Gate, Hall, Van } = cameras;

  await check('a camera turns while a direction is held, by pointer and by key', async () => {
    await row(Gate).click();
    await at('ptz-button').click();
    await text('.look', 'Pan');
    const before = await page.textContent('.look');
    await at('ptz-left').hover();
    await page.mouse.down();
    await page.waitForSelector('[data-operate="left"].held');
    await until((puid) => window.gantry.tiles()[0].puid === puid, Gate.puid);
    await page.mouse.up();
    await until((was) => document.querySelector('.look').textContent !== was, before);
    await at('ptz-up').focus();
    await page.keyboard.down('ArrowUp');
    await page.waitForSelector('[data-operate="up"].held');
    await page.keyboard.up('ArrowUp');
    await page.waitForSelector('[data-operate="up"].held', { state: 'detached' });
    await until(() => true);
    while (sent.length < 4) await page.waitForRequest(/\/pu\/ptz\/camera\//);
    const told = sent.map((s) => `${s.operate} ${s.stop}`).join(', ');
    need(told === 'left false, left true, up false, up true', `the calls were ${told}`);
    return told;
  });

  await check('presets and a cruise are set, gone to and deleted', async () => {
    await at('preset-number').fill('7');
    await at('preset-name').fill('Door');
    await at('preset-set').click();
    await at('preset-7').waitFor();
    need((await at('preset-7').textContent()).includes('Door'), 'the preset lost its name');
    await shot('ptz');
    await at('preset-7').getByTestId('go').click();
    await at('preset-7').getByTestId('mark').check();
    await at('cruise-name').fill('Round');
    await at('cruise-make').click();
    await at('cruises').getByText('Round').waitFor();
    await at('cruises').getByTestId('start').click();
    await at('cruises').getByTestId('stop').click();
    await at('cruises').getByTestId('delete').click();
    await at('cruises').waitFor({ state: 'detached' });
    await at('preset-7').getByTestId('delete').click();
    await at('preset-7').waitFor({ state: 'detached' });
    need((await at('failure').count()) === 0, 'a failure is shown');
  });

  await check('a camera looks where it is told, keeps its home, and zooms into what is drawn', async () => {
    await at('precise-pan').fill('90');
    await at('precise-go').click();
    await text('.look', '90.0°');
    await at('fold-home').locator('summary').click();
    await at('home-on').check();
    await at('home-preset').fill('1');
    await at('home-wait').fill('60');
    await at('home-save').click();
    await at('home-result').locator('.done').waitFor();
    const { homePosition } = await node.gantry('POST', `/device/query/${Gate.puid}/0`, { query: 'homePosition' });
    need(homePosition.enabled === 1 && homePosition.resetTime === 60, `the camera has ${JSON.stringify(homePosition)}`);
    for (const mode of ['Auto', 'Stop']) {
      await at(`track-${mode}`).click();
      await at('track-result').locator('.done').waitFor();
    }
    for (const told of ['scan-left', 'scan-start', 'scan-stop', 'scan-speed-set', 'aux-on', 'aux-off']) {
      const answered = page.waitForResponse(/\/device\/control\//);
      await at(told).click();
      need((await answered).status() === 204, `${told}: ${(await answered).status()}`);
    }
    const box = await at('tile-1').boundingBox();
    const order = page.waitForResponse(/\/device\/control\//);
    await page.keyboard.down('Shift');
    await page.mouse.move(box.x + box.width * 0.4, box.y + box.height * 0.4);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.6, box.y + box.height * 0.6);
    await page.mouse.up();
    await page.keyboard.up('Shift');
    const response = await order;
    need(response.status() === 204, `the answer was ${response.status()}`);
    return response.request().postData();
  });

  await check('a camera without PTZ says so and is not ordered about', async () => {
    const before = sent.length;
    await row(Hall).click();
    await until(() => document.querySelector('[data-testid=ptz]').dataset.reason === 'ptz.fixed');
    need(await at('ptz-reason').isVisible(), 'no reason is shown');
    need(await page.$eval('.ptz-head', (e) => e.inert), 'the pad can be used');
    await page.keyboard.press('ArrowUp');
    need(sent.length === before, 'an order went out');
  });

  await check('a device tells what it is, records, and takes its settings', async () => {
    await row(Gate).click();
    await at('device-button').click();
    await text('[data-testid=dev-info]', 'simulated');
    await at('order-record.start').click();
    await text('[data-testid=dev-status]', 'Recordingon');
    await at('order-record.stop').click();
    await text('[data-testid=dev-status]', 'Recordingoff');
    await at('fold-cfg.FrameMirror').locator('summary').click();
    const form = at('settings-FrameMirror');
    await form.locator('[data-field=mode]').selectOption('2');
    await form.getByTestId('save').click();
    await form.getByTestId('saved').waitFor();
    const { config } = await node.gantry('POST', `/device/query/${Gate.puid}/0`, { query: 'config', types: ['FrameMirror'] });
    need(config[0].FrameMirror.mode === 2, `the device has ${JSON.stringify(config)}`);
    await at('fold-snap').locator('summary').click();
    await page.locator('[data-testid=fold-snap] [data-field=snapNum]').fill('2');
    await at('snap-take').click();
    // They are pictures to the browser too, not just bytes of that name.
    await until(() => [...document.querySelectorAll('[data-testid=snap]')].filter((img) => img.complete && img.naturalWidth > 0).length === 2);
    await at('fold-upgrade').locator('summary').click();
    for (const [name, value] of [['firmware', '2.0'], ['fileUrl', 'http://127.0.0.1/firmware'], ['manufacturer', 'Gantry']]) await page.locator(`[data-testid=fold-upgrade] [data-field=${name}]`).fill(value);
    await at('upgrade-send').click();
    await at('ask-yes').click();
    await at('upgrade-result').locator('[data-state=running]').waitFor();
    await at('fold-cfg.VideoRecordPlan').locator('summary').click();
    const plan = at('settings-VideoRecordPlan');
    // The camera has a plan for each day of the week: the last one gets another stretch.
    await plan.getByTestId('add-segments').last().click();
    await plan.getByTestId('save').click();
    await plan.getByTestId('saved').waitFor();
    await shot('device');
    const told = await node.gantry('POST', `/device/query/${Gate.puid}/0`, { query: 'config', types: ['VideoRecordPlan'] });
    need(told.config[0].VideoRecordPlan.days.at(-1).segments.length === 2, `the device has ${JSON.stringify(told)}`);
  });

  await check('policies and the password of a device are set, and a refusal is shown with its sentence', async () => {
    await at('fold-policy').locator('summary').click();
    const form = at('policy-form');
    await form.locator('[data-field=transport]').selectOption('tcp-passive');
    await form.getByTestId('policy-save').click();
    await at('policy-saved').waitFor();
    need((await node.gantry('GET', `/devices/${Gate.puid}/policy`)).transport === 'tcp-passive', 'the policy is not kept');
    await form.locator('[data-field=media_ip]').fill('nowhere');
    await form.getByTestId('policy-save').click();
    await form.getByTestId('failure').waitFor();
    need(/media_ip|nowhere/.test(await form.getByTestId('failure').textContent()), 'the sentence does not name the field');
    await form.locator('[data-field=media_ip]').fill('');
    await form.locator('[data-field=transport]').selectOption('auto');
    await form.getByTestId('policy-save').click();
    await at('policy-saved').waitFor();
    await at('fold-auth').locator('summary').click();
    await at('auth-kind').selectOption('default');
    await at('auth-save').click();
    await at('auth-result').locator('.done').waitFor();
  });

  await check('alarms come, are counted and are acknowledged', async () => {
    await at('alarms-button').click();
    await page.waitForSelector('[data-testid=alarm]', { timeout: WAIT_MS });
    need(await at('alarm-count').isVisible(), 'no badge is shown');
    await shot('alarms');
    const key = await at('alarm').first().getAttribute('data-key');
    const first = page.locator(`[data-testid=alarm][data-key="${key}"]`);
    need(/Motion/.test(await first.textContent()), 'the alarm has no words');
    await first.getByTestId('acknowledge').click();
    await page.waitForSelector(`[data-testid=alarm][data-key="${key}"][data-done=true]`);
    const open = await page.locator('[data-testid=alarm][data-done=false]').count();
    if (open === 0) need(await at('alarm-count').isHidden(), 'the badge still counts');
    return first.textContent();
  });

  await check('the map shows every device, moves, zooms and draws a track', async () => {
    await at('space-map').click();
    await until(() => document.querySelectorAll('[data-testid=marker]').length === 4);
    const place = () => page.$eval('[data-testid=marker]', (e) => e.style.transform);
    const before = await place();
    const scale = await at('map-scale').textContent();
    await at('map-plane').focus();
    await page.keyboard.press('ArrowLeft');
    need((await place()) !== before, 'the arrow key does not move it');
    for (let i = 0; i < 4; i++) await page.keyboard.press('-');
    need((await at('map-scale').textContent()) !== scale, 'the scale stays');
    await row(Van).click();
    await at('map-card').waitFor();
    for (const places of [1, 2]) {
      await at('map-ask').click();
      await until((n) => document.querySelectorAll('[data-testid=track]').length >= n - 1, places);
    }
    await page.waitForSelector('[data-testid=track]', { state: 'attached' });
    await shot('map');
    await at('space-live').click();
  });

  const calls = (await (await fetch(`${node.base}/openapi.json`)).json()).paths;
  if (calls['/gantry/v1/playback']) await check('records are searched, played at another speed, sought in and downloaded', async () => {
    await at('space-records').click();
    await row(Gate).click();
    const searched = () => until(() => /\d|Nothing/.test(document.querySelector('[data-testid=rec-found]').textContent) || document.querySelector('.records [data-testid=failure]'));
    await searched();
    // Shortly after midnight there is nothing of today yet.
    if ((await at('record').count()) === 0) { await at('rec-prev').click(); await searched(); }
    const said = at('records').getByTestId('failure');
    need((await said.count()) === 0, `the page says ${await said.first().textContent().catch(() => '')}`);
    const records = () => at('records').locator('[data-testid=record]').count();
    const every = await records();
    await at('rec-secrecy').selectOption('1');
    await until(() => document.querySelectorAll('[data-testid=record]').length === 0);
    await at('rec-secrecy').selectOption('0');
    await until((n) => document.querySelectorAll('[data-testid=record]').length === n, every);
    await at('timeline').focus();
    await page.keyboard.press('Home');
    const decoded = () => document.querySelector('.rec-stage video').getVideoPlaybackQuality().totalVideoFrames;
    await until(() => document.querySelector('.rec-stage').dataset.state === 'playing');
    await until(() => document.querySelector('.rec-stage video').getVideoPlaybackQuality().totalVideoFrames > 10);
    // Without sound it is another video, as the one before cannot lose a track.
    await page.evaluate(() => { document.querySelector('.rec-stage video').dataset.before = 'true'; });
    await at('rec-speed').selectOption('2');
    await page.waitForSelector('.rec-stage video:not([data-before])');
    await until(() => document.querySelector('.rec-stage').dataset.state === 'playing' && document.querySelector('.rec-stage video').getVideoPlaybackQuality().totalVideoFrames > 10);
    await shot('records');
    const where = await at('rec-where').textContent();
    await until((was) => document.querySelector('[data-testid=rec-where]').textContent !== was, where);
    await at('rec-speed').selectOption('-2');
    // The demo's cameras cannot play backwards: the page says so and keeps the speed that runs.
    await said.waitFor();
    await until(() => document.querySelector('[data-testid=rec-speed]').value === '2');
    await page.getByTestId('rec-play').click();
    await until(() => document.querySelector('.rec-stage').dataset.state === 'paused');
    const frames = await page.evaluate(decoded);
    need(frames > 10, `only ${frames} pictures were shown`);
    await at('rec-halt').click();
    await until(() => document.querySelector('.rec-stage').dataset.state === 'empty');
    await at('rec-download').click();
    await at('task').first().waitFor();
    need((await said.count()) === 0, 'a failure is shown');
    // An hour is not waited for: its task is taken away, and with it what is under way.
    await at('task').first().getByRole('button', { name: 'Delete' }).click();
    await at('task').waitFor({ state: 'detached' });
    await at('space-live').click();
    return `${frames} frames`;
  });

  await check('every word is there in Chinese', async () => {
    await page.click('.top [data-lang=zh]');
    for (const panel of ['ptz', 'device', 'alarms', 'sessions', 'details']) {
      await page.click(`[data-panel=${panel}]`);
      await until((p) => document.querySelector(`[data-panel=${p}]`).getAttribute('aria-pressed') === 'true', panel);
      const raw = await page.evaluate(() => [document.body, ...document.querySelectorAll('[title],[placeholder]')].flatMap((e) => (e === document.body ? e.innerText.split('\n') : [e.title, e.placeholder ?? '']))
        .filter((s) => /^(ptz|dev|cfg|alarm|map|rec|space|order|policy|auth|fold|card|panel)\.[a-z]/.test(s)));
      need(raw.length === 0, `${panel} shows ${raw}`);
    }
    await shot('chinese');
    await page.click('.top [data-lang=en]');
    await page.keyboard.press('Escape');
  });
}
