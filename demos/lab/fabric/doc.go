// Package fabric is a network of switches, trunks between them and cables to
// ports, for the laboratory. It is a pure core: a frame and the time go in, out
// come the ports that get it and when. No clock, socket or chance of its own.
//
// It behaves like one Ethernet segment whose switches find new paths at once:
// frames go by the fewest living trunks, there are no loops, and a frame for an
// address that no port has sent from goes to all ports. A cable or trunk has,
// for each direction: a cut, loss, duplication, late frames that are overtaken,
// delay, a rate with a bounded queue, and counts. What asks to go first (DSCP EF)
// does not wait in its host's queue, as in Linux; in a switch's all stand in line.
// A dead switch carries nothing.
// A port may be deaf to another one: asymmetric failures need no broken cable.
//
// Names: a switch is s1, a host n1, its ports n1.0, n1.1; a cable is n1-s2 (or
// n1.0-s2 if the host has two to that switch), a trunk s1-s2.
//
// Limits: 256 ports, 64 switches. What spanning trees and their time-outs do to
// real switches is not modelled: a real one may take longer to find a new path.
package fabric
