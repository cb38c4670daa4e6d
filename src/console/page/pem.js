// Certificates and requests as text (PEM): read from a file, saved as one, and when a certificate is valid.

/** Bytes of a file that are read: one more than the node takes, so that the node says that it is too long. */
const FILE_BYTES_MAX = 65_537;
/** ASN.1: tags of a sequence's first byte, of a version in a certificate, and of a time with two digits of the year. */
const SEQUENCE = 0x30;
const VERSION = 0xa0;
const UTC_TIME = 0x17;

/** The text of a file; one in DER becomes PEM with the label. */
export async function readPem(file, label) {
  const bytes = new Uint8Array(await file.slice(0, FILE_BYTES_MAX).arrayBuffer());
  const text = new TextDecoder().decode(bytes);
  if (bytes[0] !== SEQUENCE || text.includes('-----BEGIN')) return text;
  const base64 = btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join(''));
  return `-----BEGIN ${label}-----\n${base64.replace(/.{64}(?=.)/g, '$&\n')}\n-----END ${label}-----\n`;
}

/** Saves text as a file. */
export function save(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: 'application/x-pem-file' }));
  const link = document.createElement('a');
  Object.assign(link, { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

/** When a certificate (X.509, RFC 5280, 4.1) is valid, in Unix ms: `{from, until}`; null where the text is none. */
export function validity(pem) {
  try {
    const bytes = Uint8Array.from(atob(pem.replace(/-----[^-]+-----|\s/g, '')), (c) => c.charCodeAt(0));
    const element = (at) => {
      let from = at + 2;
      let length = bytes[at + 1];
      if (length > 0x7f) {
        const end = from + (length & 0x7f);
        for (length = 0; from < end; from++) length = length * 256 + bytes[from];
      }
      return { tag: bytes[at], from, to: from + length };
    };
    const inside = (outer) => {
      const out = [];
      for (let at = outer.from; at < outer.to; at = out.at(-1).to) out.push(element(at));
      return out;
    };
    const parts = inside(inside(element(0))[0]);
    // Serial, algorithm and issuer stand before it, and in all but the oldest a version.
    const [from, until] = inside(parts[parts[0].tag === VERSION ? 4 : 3]).map(({ tag, from: a, to }) => time(tag, String.fromCharCode(...bytes.subarray(a, to))));
    return Number.isFinite(from) && Number.isFinite(until) ? { from, until } : null;
  } catch {
    return null;
  }
}

/** "YYMMDDhhmmssZ" or with four digits of the year, in Unix ms. */
function time(tag, text) {
  const digits = tag === UTC_TIME ? `${Number(text.slice(0, 2)) < 50 ? '20' : '19'}${text}` : text;
  const [, y, mo, d, hh, mi, s] = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(digits) ?? [];
  return Date.UTC(y, mo - 1, d, hh, mi, s);
}
