// The certificates of GB 35114 at A level, in the order of work: this node's own, those that it issues for devices, and the
// devices that must prove themselves with them.

import { Code, listAll } from './api.js';
import { Issued } from './cert-issued.js';
import { Own } from './cert-own.js';
import { Proving } from './cert-proving.js';
import { onLang } from './i18n.js';

/** How often devices are asked about while the space is shown. */
const DEVICES_MS = 3000;

const LISTS = { servers: '/28181in/cert/server/list', requests: '/28181in/cert/device/csr/list', devices: '/28181in/gmdevice/list' };

export class Certificates {
  /** `hooks`: devices(), the list of devices. */
  constructor(el, hooks) {
    this.hooks = hooks;
    this.#forget();
    this.own = new Own(this);
    this.issued = new Issued(this);
    this.proving = new Proving(this);
    this.sections = { servers: this.own, requests: this.issued, devices: this.proving };
    el.append(this.own.el, this.issued.el, this.proving.el);
    onLang(() => this.#draw());
    this.#draw();
  }

  start() {
    this.stop();
    this.timer = setInterval(() => this.#loadDevices(), DEVICES_MS);
    this.load();
  }

  stop() {
    clearInterval(this.timer);
    this.timer = 0;
  }

  /** Nobody is signed in any more. */
  clear() {
    this.stop();
    this.#forget();
    for (const section of Object.values(this.sections)) { section.error = null; section.errors.clear(); section.open.clear(); section.showForm(false); }
    this.#draw();
  }

  #forget() { for (const name of Object.keys(LISTS)) this[name] = null; }

  async load() {
    await Promise.all(Object.keys(LISTS).map((name) => this.#fetch(name)));
    await this.proving.listen();
    this.#draw();
  }

  /** A device has come or gone. */
  update() { if (this.timer) this.proving.update(); }

  async #loadDevices() {
    await this.#fetch('devices');
    await this.proving.listen();
    this.proving.update();
  }

  async #fetch(name) {
    const section = this.sections[name];
    try {
      this[name] = await listAll(LISTS[name]);
      section.error = null;
    } catch (error) {
      if (error.code !== Code.BadToken) section.error = error;
    }
  }

  #draw() { for (const section of Object.values(this.sections)) section.draw(); }
}
