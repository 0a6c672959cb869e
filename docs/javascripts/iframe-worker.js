// A browser runs no worker of a page that was opened as a file, without a server. The search of the site is a worker:
// here it runs in a hidden frame instead. The name of this file keeps zensical from fetching one like it from a network.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.documentElement.appendChild(frame)
      this.inside = frame.contentWindow
      this.inside.postMessage = data => later(() => {
        const event = new MessageEvent("message", { data: structuredClone(data) })
        this.dispatchEvent(event)
        if (this.onmessage) this.onmessage(event)
      })
      const script = this.inside.document.createElement("script")
      script.src = url
      this.loaded = new Promise(resolve => { script.onload = resolve })
      this.inside.document.documentElement.appendChild(script)
    }

    postMessage(data) {
      const copy = structuredClone(data)
      this.loaded.then(() => later(() => {
        this.inside.dispatchEvent(new this.inside.MessageEvent("message", { data: copy }))
      }))
    }

    terminate() {
      this.inside.frameElement.remove()
    }
  }

  // A worker answers after whoever asked has finished.
  const later = work => setTimeout(work, 0)
}
