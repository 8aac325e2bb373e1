// The API key of this editor: kept until the tab is closed, on this device only if they say so, and never in an address.

const PLACE = "highsync-key";

export const currentKey = () => sessionStorage.getItem(PLACE) ?? localStorage.getItem(PLACE);

export const isRemembered = () => localStorage.getItem(PLACE) !== null;

export function keepKey(key, remember) {
  forgetKey();
  (remember ? localStorage : sessionStorage).setItem(PLACE, key);
}

export function forgetKey() {
  sessionStorage.removeItem(PLACE);
  localStorage.removeItem(PLACE);
}
