// The page's certificates (GB 35114, level A) on a real node: from a key of the node to a simulated device that is let in by its
// certificate, and refused once that is revoked.
//
// Starts one simulated device, which writes its request into a folder of its own, and ends it.

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const WAIT_MS = Number(process.env.WAIT_MS ?? 60_000);
const DEVICE = '34020000001320000351';
const NODE = '34020000002000000001';
const DAY_MS = 86_400_000;

/** Runs all of it. `page` is signed in; `program` is Gantry's, `sip` where the node takes SIP. */
export async function certificates({ page, check, need, shot, program, sip }) {
  const at = (id) => page.getByTestId(id);
  const row = (section, key) => page.locator(`[data-testid=${section}-row][data-key="${key}"]`);
  const below = (section, key) => page.locator(`[data-testid=${section}-below][data-key="${key}"]`);
  const inState = (section, state) => page.locator(`[data-testid=${section}-row][data-state=${state}]`);
  const appears = (locator) => locator.waitFor({ timeout: WAIT_MS });
  const failed = async (place, code, words) => {
    await appears(place.getByTestId('failure'));
    const said = await place.getByTestId('failure').textContent();
    need((await place.getByTestId('failure').getAttribute('data-code')) === String(code) && words.test(said), `the page says "${said}"`);
  };
  /** The text of what a click saves, and its name. */
  const saved = async (button) => {
    const [download] = await Promise.all([page.waitForEvent('download'), button.click()]);
    return { name: download.suggestedFilename(), text: readFileSync(await download.path(), 'utf8') };
  };
  /** Makes a key of the node; gives its id. */
  const makeKey = async (name) => {
    await at('own-add').click();
    await at('own-form').locator('[data-field=name]').fill(name);
    await at('own-send').click();
    const made = page.locator('[data-testid=own-row]', { hasText: name });
    await appears(made);
    return made.getAttribute('data-key');
  };

  const folder = mkdtempSync(join(tmpdir(), 'gantry-certificates-'));
  const device = spawn(program, ['simulate', '--count', '1', '--channels', '1', '--media', 'none', '--keepalive', '1', '--id-base', DEVICE, '--server-id', NODE, '--server', sip, '--gb35114', folder], { stdio: 'ignore' });
  const ended = new Promise((resolve) => { device.once('exit', resolve); device.once('error', resolve); });
  try {
    await check('the space of certificates says what to do first', async () => {
      await at('space-certificates').click();
      for (const [section, words] of [['own', 'New key'], ['issued', 'certificate of this node'], ['proving', 'issue a certificate']]) await appears(at(`${section}-none`).filter({ hasText: words }));
      await at('crl').click();
      await failed(at('issued-notice'), 2, /not found/);
      await shot('certificates-empty');
    });

    await check('a key of the node is made, signed by itself, and put in use', async () => {
      const first = await makeKey('First key');
      need((await row('own', first).getAttribute('data-state')) === 'request', 'a new key has a certificate');
      const request = await saved(below('own', first).getByTestId('pem-request').getByTestId('download'));
      need(request.name === `${NODE}.csr` && request.text.startsWith('-----BEGIN CERTIFICATE REQUEST-----'), `saved ${request.name}: ${request.text}`);
      await row('own', first).getByTestId('sign').click();
      await appears(inState('own', 'inuse'));
      need(await row('own', first).getByTestId('delete').isDisabled(), 'what is in use can be deleted');
      const second = await makeKey('Second key');
      await below('own', second).getByTestId('install').locator('summary').click();
      await below('own', second).locator('textarea').fill('not a certificate');
      await below('own', second).getByTestId('install-send').click();
      await failed(below('own', second), 4, /pem/);
      await row('own', second).locator('[data-field=days]').fill('10');
      await row('own', second).getByTestId('sign').click();
      await appears(row('own', first).and(inState('own', 'idle')));
      await row('own', first).getByTestId('use').click();
      await appears(row('own', first).and(inState('own', 'inuse')));
      await row('own', second).getByTestId('delete').click();
      await at('ask-yes').click();
      await row('own', second).waitFor({ state: 'detached' });
      await row('own', first).getByTestId('open').click();
      const said = await below('own', first).textContent();
      need(said.includes(`CN=${NODE} (itself)`), `the issuer is not told: ${said}`);
      const certificate = await saved(below('own', first).getByTestId('pem-certificate').getByTestId('download'));
      need(certificate.name === `${NODE}.crt` && certificate.text.startsWith('-----BEGIN CERTIFICATE-----'), `saved ${certificate.name}: ${certificate.text}`);
      await shot('certificates-own');
      await row('own', first).getByTestId('open').click();
    });

    let issued = '';
    await check('the request of a device is read from a file, and its certificate issued', async () => {
      const file = join(folder, `${DEVICE}.csr`);
      for (const until = Date.now() + WAIT_MS; !existsSync(file); await new Promise((r) => setTimeout(r, 50))) need(Date.now() < until, 'the device wrote no request');
      const pem = readFileSync(file, 'utf8');
      const area = at('issued-form').locator('textarea');
      await at('issued-add').click();
      await area.fill('not a request');
      await at('issued-send').click();
      await failed(at('issued-form'), 4, /pem/);
      // The same in DER.
      await at('issued-form').getByTestId('file').setInputFiles({ name: 'device.der', mimeType: 'application/octet-stream', buffer: Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64') });
      await page.waitForFunction(() => document.querySelector('[data-testid=issued-form] textarea').value.includes('BEGIN'));
      need((await area.inputValue()).trim() === pem.trim(), 'DER became other PEM');
      await at('issued-form').locator('[data-field=name]').fill('North gate');
      await shot('certificates-request');
      await at('issued-send').click();
      await appears(inState('issued', 'pending'));
      issued = await inState('issued', 'pending').getAttribute('data-key');
      await row('issued', issued).locator('[data-field=days]').fill('30');
      await row('issued', issued).getByTestId('issue').click();
      await appears(row('issued', issued).and(inState('issued', 'issued')));
      const last = new Date(Date.now() + 30 * DAY_MS).toLocaleDateString('en-GB', { year: 'numeric', month: '2-digit', day: '2-digit' });
      const said = await row('issued', issued).textContent();
      need(said.includes(DEVICE) && said.includes(last), `the row says "${said}", not ${last}`);
      const { name, text } = await saved(row('issued', issued).getByTestId('certificate'));
      need(name === `${DEVICE}.crt` && text.startsWith('-----BEGIN CERTIFICATE-----'), `saved ${name}: ${text}`);
    });

    await check('a device that must prove itself comes online by its certificate', async () => {
      await row('issued', issued).getByTestId('enrol').click();
      need((await at('proving-form').locator('[data-field=id]').inputValue()) === DEVICE, 'the form is not filled');
      await at('proving-send').click();
      await appears(row('proving', DEVICE));
      await appears(row('proving', DEVICE).and(inState('proving', 'certified')));
      need(await page.evaluate((id) => window.gantry.devices().some((d) => d.id === id && Number(d.status) === 1), `PU_${DEVICE}`), 'the list of devices has it offline');
      await at('proving-add').click();
      await at('proving-form').locator('[data-field=id]').fill(DEVICE);
      await at('proving-send').click();
      await failed(at('proving-form'), 3, /already/);
      await at('proving-form').getByRole('button', { name: 'Cancel' }).click();
      need((await row('proving', DEVICE).getAttribute('data-state')) === 'certified', 'a refused addition changes how it stands');
      await shot('certificates-certified');
      return row('proving', DEVICE).textContent();
    });

    let refused = '';
    await check('once its certificate is revoked it is refused, and the page says why', async () => {
      await row('issued', issued).getByTestId('revoke').click();
      await at('ask-yes').click();
      await appears(row('issued', issued).and(inState('issued', 'revoked')));
      await appears(row('proving', DEVICE).and(inState('proving', 'refused')));
      await appears(below('proving', DEVICE).getByTestId('refused').filter({ hasText: 'certificate revoked' }));
      refused = await below('proving', DEVICE).getByTestId('refused').textContent();
      need(/Issue a new one/.test(refused), `the page says "${refused}"`);
      const { name, text } = await saved(at('crl'));
      need(name === 'gantry.crl' && text.startsWith('-----BEGIN X509 CRL-----'), `saved ${name}: ${text}`);
      await shot('certificates-revoked');
      return refused;
    });

    await check('certificates are told in Chinese too', async () => {
      await page.click('.top [data-lang=zh]');
      await appears(below('proving', DEVICE).getByTestId('refused').filter({ hasText: '设备证书已被吊销' }));
      for (const open of await page.locator('#certificates [data-testid=open]').all()) await open.click();
      const raw = await page.evaluate(() => [...document.querySelectorAll('#certificates *')].flatMap((e) => [e.children.length ? '' : e.textContent, e.title, e.placeholder ?? '']).filter((s) => /^(cert|space|cfg)\.[a-z]/.test(s)));
      need(raw.length === 0, `the page shows ${raw}`);
      await shot('certificates-chinese');
      await page.click('.top [data-lang=en]');
      for (const open of await page.locator('#certificates [data-testid=open]').all()) await open.click();
    });

    await check('a device is switched back to its password and taken off the list', async () => {
      device.kill('SIGTERM');
      await ended;
      await row('proving', DEVICE).getByTestId('must').click();
      await appears(row('proving', DEVICE).and(inState('proving', 'password')));
      await row('proving', DEVICE).getByTestId('delete').click();
      await at('ask-yes').click();
      await row('proving', DEVICE).waitFor({ state: 'detached' });
      await at('space-live').click();
    });
  } finally {
    device.kill('SIGKILL');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  }
}
