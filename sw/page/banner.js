/**
 * Owns: the banner on a recovered page. Loaded only then. Looks and behaves the same whatever the page's own styles are.
 */
;(() => {
  const STYLE = `
:host{all:initial;position:fixed;inset:auto 0 0;z-index:2147483647;pointer-events:none;display:flex;justify-content:center}
div{pointer-events:auto;display:flex;gap:.75rem;align-items:center;box-sizing:border-box;max-width:min(48rem,100% - 2rem);margin:1rem;
padding:.7rem .8rem .7rem 1.1rem;border:1px solid #8b93a7;border-radius:.7rem;background:#171a21;color:#fff;
font:500 15px/1.45 system-ui,sans-serif;box-shadow:0 4px 24px #0007}
span{text-wrap:balance}
time{white-space:nowrap}
i{flex:none;width:.65rem;height:.65rem;border-radius:50%;background:#7ee2a8}
button{flex:none;min-width:2.75rem;min-height:2.75rem;border:0;border-radius:.5rem;background:none;color:inherit;font:inherit;font-size:1.3rem;cursor:pointer}
button:hover{background:#fff2}
button:focus-visible{outline:2px solid #9ec5ff;outline-offset:-2px}
@media (prefers-reduced-motion:no-preference){div{animation:in .25s ease-out}@keyframes in{from{opacity:0;transform:translateY(1rem)}}}
@media print{:host{display:none}}
`
  // [whole page, parts of it, close]; % stands for the time.
  const TEXTS = /** @type {Record<string, [string, string, string]>} */ ({
    en: ['The site cannot be reached. This is a verified copy from %.', 'Parts of this page are verified copies, the oldest from %.', 'Close'],
    de: ['Die Seite ist nicht erreichbar. Dies ist eine geprüfte Kopie vom %.', 'Teile dieser Seite sind geprüfte Kopien, die älteste vom %.', 'Schließen'],
    fr: ['Le site est injoignable. Ceci est une copie vérifiée du %.', 'Des parties de cette page sont des copies vérifiées, la plus ancienne du %.', 'Fermer'],
    es: ['No se puede acceder al sitio. Esta es una copia verificada del %.', 'Partes de esta página son copias verificadas, la más antigua del %.', 'Cerrar']
  })

  class Banner extends HTMLElement {
    #root = this.attachShadow({mode: 'closed'})
    #oldest = Infinity
    #isWhole = false
    #isClosed = false

    /** @param {{fetchedAt: number | string, isPart: boolean}} said */
    show({fetchedAt, isPart}) {
      // The whole page is told once; so is what a part adds to other parts: each change is read aloud.
      const time = new Date(fetchedAt).getTime() || Infinity
      if (this.#isWhole || (isPart && time >= this.#oldest)) return
      this.#oldest = isPart ? time : Math.min(this.#oldest, time)
      this.#isWhole = !isPart
      if (!this.#isClosed) this.#render()
    }

    #render() {
      const lang = (document.documentElement.lang || navigator.language).slice(0, 2).toLowerCase()
      const known = lang in TEXTS ? lang : 'en'
      const [whole, parts, close] = TEXTS[known]
      const [before, after] = (this.#isWhole ? whole : parts).split('%')
      const sheet = new CSSStyleSheet()
      sheet.replaceSync(STYLE)
      this.#root.adoptedStyleSheets = [sheet]
      this.lang = known
      const box = document.createElement('div')
      const said = document.createElement('span')
      // A live region has to be there before what it announces.
      said.role = 'status'
      const time = document.createElement('time')
      const date = new Date(Number.isFinite(this.#oldest) ? this.#oldest : Date.now())
      time.dateTime = date.toISOString()
      time.textContent = new Intl.DateTimeFormat(known, {dateStyle: 'medium', timeStyle: 'short'}).format(date)
      const button = document.createElement('button')
      button.type = 'button'
      button.ariaLabel = close
      button.textContent = '\u00d7'
      button.addEventListener('click', () => {
        this.#isClosed = true
        this.#root.replaceChildren()
      })
      box.append(document.createElement('i'), said, button)
      this.#root.replaceChildren(box)
      requestAnimationFrame(() => said.append(before, time, after))
    }
  }

  if (!customElements.get('edge-banner')) customElements.define('edge-banner', Banner)
})()
