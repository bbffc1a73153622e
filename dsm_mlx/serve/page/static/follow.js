// A column that grows: its end stays in sight, unless somebody reads what stands above.

const NEAR = 40; // pixels from the end: still there

export class Follow {
  /** place: the element that scrolls. newest: a button that leads to the end, and follows it. */
  constructor(place, newest) {
    Object.assign(this, { place, on: true });
    place.addEventListener("scroll", () => {
      this.on = place.scrollHeight - place.scrollTop - place.clientHeight < NEAR;
      newest.hidden = this.on;
    });
    newest.onclick = () => {
      this.on = true;
      this.scroll();
      place.focus({ preventScroll: true });
    };
  }

  scroll() {
    if (this.on) this.place.scrollTop = this.place.scrollHeight;
  }
}
