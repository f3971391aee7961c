// The live picture of a cluster, served by every node at its admin address.
import { mount } from 'svelte'
import 'uplot/dist/uPlot.min.css'
import './style.css'
import App from './App.svelte'
import { Cluster } from './cluster.svelte.js'
import { tokenOfAddress } from './token.js'

const cluster = new Cluster(location.origin)
mount(App, { target: document.body, props: { cluster } })
const token = tokenOfAddress()
if (token) cluster.start(token)
window.rain = { cluster } // for tests, and for whoever is curious
