// The node's REST API and its event socket.
//
// Every answer is `{code, msg, data}` with HTTP 200; `code` 0 is success. Code 9 means that the token is no longer good:
// `onSignedOut` is called and the caller gets the same error as for any other code.

import { sha256Hex } from './sha256.js';

const BASE = '/bvcsp/v1';
const TOKEN_KEY = 'gantry.token';
const USER_KEY = 'gantry.user';
/** Devices asked for in one page of the list. */
const LIST_PAGE = 200;
/** Items that the node puts into one page of a list at most. */
const PAGE_MAX = 1000;
/** The server closes a socket after a minute without traffic. */
const EVENT_KEEPALIVE_MS = 20_000;
const EVENT_RETRY_MS_MAX = 15_000;

export const Code = { OK: 0, Fail: 1, NotFound: 2, Offline: 5, Timeout: 6, Busy: 7, Unsupported: 8, BadToken: 9, Forbidden: 10, BadPassword: 14, NoPermission: 16, TooManyTries: 17 };

/** Codes that say what a media URL's HTTP status says where its answer names none. */
const STATUS_CODES = { 401: Code.BadToken, 403: Code.NoPermission, 404: Code.NotFound, 409: Code.Offline, 424: Code.Timeout, 429: Code.Busy, 503: Code.Busy };

export class ApiError extends Error {
  /** `code` is the API's; 0 stands for an answer that was none (network, HTTP status). */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

let token = sessionStorage.getItem(TOKEN_KEY) ?? '';
let refreshTimer = 0;
let signedOut = () => {};

export const user = () => sessionStorage.getItem(USER_KEY) ?? '';
export const isSignedIn = () => token !== '';
export function onSignedOut(listener) { signedOut = listener; }

/** A call of the bvcsp API: the answer's envelope. */
export async function call(method, path, body, options = {}) {
  let response;
  try {
    response = await fetch(BASE + path, {
      method,
      headers: { ...(token && { Authorization: token }), ...(body && { 'Content-Type': 'application/json;charset=UTF-8' }) },
      body: body && JSON.stringify(body),
      cache: 'no-store',
      ...options,
    });
  } catch (cause) {
    if (cause.name === 'AbortError') throw cause;
    throw new ApiError(0, 'the node cannot be reached');
  }
  let answer;
  try { answer = await response.json(); } catch { throw new ApiError(0, `HTTP ${response.status}`); }
  if (answer.code !== Code.OK) {
    if (answer.code === Code.BadToken && path !== '/auth/login') forget();
    throw new ApiError(answer.code ?? 0, answer.msg || `code ${answer.code}`);
  }
  return answer;
}

export async function login(username, password) {
  const password_encrypted = `SHA256:${await sha256Hex(`${username}_${password}`)}`;
  const { data } = await call('POST', '/auth/login', { username, password_encrypted, timestamp: Math.floor(Date.now() / 1000) });
  sessionStorage.setItem(USER_KEY, username);
  keep(data);
}

export async function logout() {
  clearTimeout(refreshTimer);
  try { await call('POST', '/auth/logout', {}); } finally { forget(); }
}

/** Renews a token that survived a reload, and with it learns how long it lasts. */
export async function resume() {
  const { data } = await call('POST', '/auth/refresh', {});
  keep(data);
}

function keep({ token: value, timeout }) {
  token = value;
  sessionStorage.setItem(TOKEN_KEY, token);
  clearTimeout(refreshTimer);
  const lifeS = Number(timeout) > 0 ? Number(timeout) : 600;
  refreshTimer = setTimeout(() => resume().catch(() => {}), Math.min(lifeS * 500, 0x7fffffff));
}

function forget() {
  if (!token) return;
  token = '';
  sessionStorage.removeItem(TOKEN_KEY);
  clearTimeout(refreshTimer);
  signedOut();
}

/** All devices with status and channels; `onPage` is called as pages come, so that a long list shows early. */
export async function devices(onPage) {
  const seen = [];
  for (let page = 0; ; page++) {
    const { data, pageInfo } = await call('POST', '/pu/list', { page, pageSize: LIST_PAGE, needStatus: true, filter: {} });
    seen.push(...(data ?? []));
    onPage?.(seen);
    const total = pageInfo?.totalCount ?? seen.length;
    if (!data?.length || seen.length >= total) return seen;
  }
}

/** All of a list of the API, page by page. */
export async function listAll(path) {
  const all = [];
  for (let page = 0; ; page++) {
    const { data, pageInfo } = await call('POST', path, { page, pageSize: PAGE_MAX });
    all.push(...(data ?? []));
    if (!data?.length || all.length >= (pageInfo?.totalCount ?? 0)) return all;
  }
}

export const device = async (puid) => (await call('GET', `/pu/info/${encodeURIComponent(puid)}`)).data;

export async function openWebrtc({ puid, index }, sdp, signal) {
  const { data } = await call('POST', '/dialog/device/webrtc', { id: puid, index, sdp, host: location.host }, { signal });
  return data;
}

/** `keepalive` lets the request outlive the page. */
export const closeDialog = (dialogId) =>
  call('POST', `/dialog/close/${encodeURIComponent(dialogId)}`, {}, { keepalive: true }).catch(() => {});

/** `decodes` names the picture codecs that this browser can decode, such as "h264,h265". */
export const dialogInfo = async (dialogId, decodes = '') =>
  (await call('GET', `/dialog/info/${encodeURIComponent(dialogId)}${decodes && `?decodes=${encodeURIComponent(decodes)}`}`)).data;

/** Open dialogs, or with `{closed: true}` the last that are over, newest first. */
export async function dialogs(filter = {}) {
  const { data } = await call('POST', '/dialog/list', { page: 0, pageSize: LIST_PAGE, filter });
  return data ?? [];
}

/** The newest dialog of a channel that failed, with its diagnosis; null where none is on record. */
export async function lastFailure({ puid, index }) {
  const over = await dialogs({ puid, closed: true });
  const failed = over.find((d) => d.failure && Number(d.index) === Number(index));
  return failed ? dialogInfo(failed.dialogid) : null;
}

/** The last SIP messages of a device, oldest first. */
export async function deviceMessages(puid) {
  return (await (await fetchAs(`/gantry/v1/devices/${encodeURIComponent(puid)}/sip?pageSize=1000`)).json()).messages;
}

/** Saves the same as a file for Wireshark. */
export async function downloadCapture(puid) {
  const url = URL.createObjectURL(await (await fetchAs(`/gantry/v1/devices/${encodeURIComponent(puid)}/sip.pcap`)).blob());
  const link = document.createElement('a');
  Object.assign(link, { href: url, download: `${puid}.pcap` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

/** A call of Gantry's own API: what it answers, or null for an answer without a body. Problems (RFC 9457) and envelopes with a code become errors. */
export async function gantry(method, path, body) {
  let response;
  try {
    response = await fetch(`/gantry/v1${path}`, {
      method,
      headers: { Authorization: token, ...(body && { 'Content-Type': 'application/json;charset=UTF-8' }) },
      body: body && JSON.stringify(body),
      cache: 'no-store',
    });
  } catch {
    throw new ApiError(0, 'the node cannot be reached');
  }
  if (response.status === 401) forget();
  const answer = response.status === 204 ? null : await response.json().catch(() => null);
  if (response.ok && answer?.code && 'msg' in answer) throw new ApiError(answer.code, answer.msg);
  if (response.ok) return answer;
  throw new ApiError(answer?.code ?? STATUS_CODES[response.status] ?? Code.Fail, answer?.detail ?? `HTTP ${response.status}`);
}

/** What lies at a path, such as a picture; errors by HTTP status. */
export async function fetchAs(path) {
  const response = await fetch(path, { headers: { Authorization: token }, cache: 'no-store' });
  if (!response.ok) throw new ApiError(0, `HTTP ${response.status}`);
  return response;
}

/** A text that lies at a path of Gantry's own API. A refusal is an envelope with its code. */
export async function fetchText(path) {
  const response = await fetchAs(path);
  if (!/json/.test(response.headers.get('content-type') ?? '')) return response.text();
  const { code, msg } = await response.json();
  throw new ApiError(code, msg);
}

/** The address of a live stream, or of the media that a target names; `scheme` is `http` or `ws`, secure when the page is. */
export function liveUrl(scheme, { puid, index, media }, ext) {
  return address(scheme, `${media ?? `/live/${encodeURIComponent(puid)}/${index}`}.${ext}`);
}

/** An address on this node with the token in it, for what takes no headers. */
export function address(scheme, path) {
  const secure = location.protocol === 'https:' ? 's' : '';
  return `${scheme}${secure}://${location.host}${path}${path.includes('?') ? '&' : '?'}token=${encodeURIComponent(token)}`;
}

/**
 * Asks over HTTP why a stream does not open: a WebSocket that is refused tells the page nothing. Returns the error that
 * the node answers (a problem document, RFC 9457), or null when this time it would have played.
 */
export async function whyNot(target, ext, signal) {
  const stop = new AbortController();
  signal?.addEventListener('abort', () => stop.abort());
  try {
    const response = await fetch(liveUrl('http', target, ext), { signal: stop.signal, cache: 'no-store' });
    if (response.ok) return null;
    const problem = await response.json();
    return new ApiError(problem.code ?? STATUS_CODES[response.status] ?? Code.Fail, problem.detail ?? `HTTP ${response.status}`);
  } catch {
    return new ApiError(0, 'the node cannot be reached');
  } finally {
    stop.abort();
  }
}

/**
 * Keeps an event socket open: `event/alarm` and the like of the bvcsp API, or one of Gantry's own by its whole path. `onEvent` gets each message, `onState` gets
 * true (up) or false (lost); `hello` is sent each time it opens. Returns `{send, stop}`.
 */
export function watch(path, { onEvent, onState = () => {}, hello = () => null }) {
  let socket = null;
  let retryMs = 1000;
  let timer = 0;
  let ended = false;

  const connect = () => {
    if (ended || !token) return;
    const mine = socket = new WebSocket(address('ws', path.startsWith('/') ? path : `${BASE}/ws/${path}`));
    const keepalive = setInterval(() => mine.readyState === WebSocket.OPEN && mine.send(''), EVENT_KEEPALIVE_MS);
    mine.onopen = () => {
      retryMs = 1000;
      const first = hello();
      if (first) mine.send(JSON.stringify(first));
      onState(true);
    };
    mine.onmessage = ({ data }) => {
      let message;
      try { message = JSON.parse(data); } catch { return; /* a message this page does not know */ }
      onEvent(message);
    };
    mine.onclose = () => {
      clearInterval(keepalive);
      if (ended) return;
      onState(false);
      timer = setTimeout(connect, retryMs);
      retryMs = Math.min(retryMs * 2, EVENT_RETRY_MS_MAX);
    };
  };
  connect();
  return {
    send: (message) => { if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message)); },
    stop: () => { ended = true; clearTimeout(timer); socket?.close(); },
  };
}
