// The admin token: it comes behind the # of the address, which no browser sends
// to anybody, or is typed in. It is kept for this tab alone, and taken out of the
// address bar at once.
const KEY = 'rain-token'

export function tokenOfAddress() {
  const t = new URLSearchParams(location.hash.slice(1)).get('token')
  if (t) {
    keepToken(t)
    history.replaceState(null, '', location.pathname + location.search)
  }
  return t || sessionStorage.getItem(KEY) || ''
}

export function keepToken(t) { sessionStorage.setItem(KEY, t) }
export function dropToken() { sessionStorage.removeItem(KEY) }
