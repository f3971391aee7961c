//go:build unix

package contract

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func needFFmpeg(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"ffmpeg", "ffprobe"} {
		if _, err := exec.LookPath(tool); err != nil {
			fmt.Printf("skipped contract/ffmpeg: %s is not installed\n", tool)
			t.Skip(tool + " is not installed")
		}
	}
}

// quiet runs a tool that must have nothing to complain of. On a machine that
// stands still an address may move under it, which is not what is tested here:
// then it is run again.
func quiet(t *testing.T, tool string, args ...string) string {
	t.Helper()
	var err error
	var out, said bytes.Buffer
	for range 5 {
		cmd := exec.Command(tool, append([]string{"-v", "warning"}, args...)...)
		out.Reset()
		said.Reset()
		cmd.Stdout, cmd.Stderr = &out, &said
		err = cmd.Run()
		if text := said.String(); !strings.Contains(text, "Connection re") { // refused, reset
			break
		}
	}
	if err != nil || said.Len() > 0 {
		t.Errorf("%s %s: %v\n%s", tool, strings.Join(args, " "), err, &said)
	}
	return strings.TrimSpace(out.String())
}

// frames counts what ffprobe decodes of the track kind: "v" pictures, "a" frames
// of sound (after the number of channels).
func frames(t *testing.T, kind, url string, more ...string) string {
	t.Helper()
	show := map[string]string{"v": "stream=nb_read_frames", "a": "stream=channels,nb_read_frames"}[kind]
	out := quiet(t, "ffprobe", append(more, "-select_streams", kind, "-count_frames", "-show_entries", show, "-of", "csv=p=0", url)...)
	first, _, _ := strings.Cut(out, "\n") // it tells of an HLS stream twice
	return strings.Trim(first, ", ")
}

// testFFmpeg: the demo's film, from a virtual address and a node's own.
func (c *cluster) testFFmpeg(t *testing.T) {
	needFFmpeg(t)
	for _, host := range []string{"http://" + c.VIPs[1], c.Nodes[3].HTTP} {
		for _, u := range []string{"index.m3u8", "film.mp4"} {
			url := host + "/video/demo/" + u
			quiet(t, "ffmpeg", "-nostdin", "-i", url, "-f", "null", "-")
			if n := frames(t, "v", url); n != "1500" {
				t.Errorf("%s: %s of 1500 pictures", url, n)
			}
		}
	}
}

const (
	picture = "-f lavfi -i testsrc2=s=160x90:r=25:d=5"
	sine    = " -f lavfi -i sine=d=5"
	x264    = " -c:v libx264 -preset ultrafast -pix_fmt yuv420p"
)

// odd films, and what ffmpeg makes them of.
var odd = []struct{ name, args string }{
	{"moov-at-the-end", picture + sine + x264 + " -g 50 -c:a aac"},
	{"b-frames", picture + sine + " -c:v libx264 -preset veryfast -bf 3 -g 50 -c:a aac -movflags +faststart"},
	{"29.97", "-f lavfi -i testsrc2=s=160x90:r=30000/1001:d=6 -f lavfi -i sine=d=6:r=48000" + x264 + " -g 60 -c:a aac"},
	{"variable-rate", picture + ` -vf select='not(mod(n\,3))+lt(n\,40)' -vsync vfr` + x264 + " -g 30"},
	{"mono", picture + sine + x264 + " -ac 1 -c:a aac"},
	{"no-sound", "-f lavfi -i testsrc2=s=160x90:r=24:d=4" + x264},
	{"5.1", picture + " -f lavfi -i aevalsrc=sin(440*t)|sin(550*t)|sin(660*t)|sin(110*t)|sin(220*t)|sin(330*t):c=5.1:d=5" + x264 + " -c:a aac"},
	{"short", "-f lavfi -i testsrc2=s=160x90:r=25:d=0.5 -f lavfi -i sine=d=0.5" + x264 + " -c:a aac"},
	{"one-picture", picture + x264 + " -frames:v 1"},
	{"long-gop", "-f lavfi -i testsrc2=s=160x90:r=25:d=25 -f lavfi -i sine=d=25" + x264 + " -g 250 -keyint_min 250 -sc_threshold 0 -c:a aac"},
	{"late-sound", picture + " -itsoffset 0.5 -f lavfi -i sine=d=4" + x264 + " -c:a aac"},
	{"more-sound-than-picture", picture + " -f lavfi -i sine=d=8" + x264 + " -c:a aac"},
	{"rotated", "-i moov-at-the-end.mp4 -c copy -metadata:s:v rotate=90"},
	{"edit-list", "-ss 1.3 -i moov-at-the-end.mp4 -c copy"}, // begins in the middle of a group of pictures
}

// unfit files, and what the refusal must name.
var unfit = []struct{ name, args, found string }{
	{"hevc.mp4", picture + " -c:v libx265 -preset ultrafast -x265-params log-level=none", "HEVC"},
	{"vp9.mp4", "-f lavfi -i testsrc2=s=160x90:r=25:d=1 -c:v libvpx-vp9 -cpu-used 8", "VP9"},
	{"mp3-in.mp4", picture + sine + x264 + " -c:a libmp3lame", "not AAC"},
	{"sound-only.mp4", "-f lavfi -i sine=d=3 -c:a aac", "no H.264"},
	{"fragmented.mp4", picture + x264 + " -movflags frag_keyframe+empty_moov", "fragmented"},
	{"matroska.mp4", picture + x264 + " -f matroska", "Matroska"},
}

// makeFilm runs ffmpeg in a folder; false: this ffmpeg has not what it takes.
func makeFilm(t *testing.T, dir, name, args string) bool {
	t.Helper()
	cmd := exec.Command("ffmpeg", append(append([]string{"-v", "error", "-nostdin", "-y"}, strings.Fields(args)...), name)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Printf("skipped contract/ffmpeg-%s: this ffmpeg does not make it: %s\n", name, bytes.TrimSpace(out))
		return false
	}
	return true
}

// testOddFilms: what is taken in is played, picture by picture and with its
// sound, in both ways and without a warning; what is refused is told why.
func (c *cluster) testOddFilms(t *testing.T) {
	needFFmpeg(t)
	dir := t.TempDir()
	for _, o := range odd {
		file := filepath.Join(dir, o.name+".mp4")
		if !makeFilm(t, dir, o.name+".mp4", o.args) {
			continue
		}
		want(t, 0, "rainctl", "--cluster", c.file(), "video", "add", file, "--name", o.name)
		base := c.Nodes[1].HTTP + "/video/" + o.name + "/"
		for _, u := range []string{"index.m3u8", "film.mp4"} {
			quiet(t, "ffmpeg", "-nostdin", "-i", base+u, "-f", "null", "-")
			var more []string
			if u == "index.m3u8" { // segments hold what the edit list hides, too
				more = []string{"-ignore_editlist", "1"}
			}
			for _, kind := range []string{"v", "a"} {
				got, stored := frames(t, kind, base+u), frames(t, kind, file, more...)
				if got != stored || got == "" && kind == "v" {
					t.Errorf("%s%s, %s: %s of %s", base, u, kind, got, stored)
				}
			}
		}
	}
	turned := c.Nodes[1].HTTP + "/video/rotated/index.m3u8"
	if out := quiet(t, "ffprobe", "-show_entries", "stream_side_data=rotation", "-of", "csv=p=0", turned); !strings.Contains(out, "90") {
		t.Errorf("the rotated film lies on its side: %q", out)
	}
	refuse := func(file, found string) {
		r := want(t, 3, "rainctl", "--cluster", c.file(), "--json", "video", "add", file, "--name", "unfit")
		if !strings.Contains(r.stdout, found) {
			t.Errorf("%s: the refusal does not name %s: %s", filepath.Base(file), found, r.stdout)
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		// and so does a node, whoever sent it
		a := c.do(t, "PUT", c.Nodes[1].Admin+"/api/v1/videos/unfit", string(raw), nil)
		if a.code != 422 || !strings.Contains(a.body, found) {
			t.Errorf("%s: a node answers %d %s", filepath.Base(file), a.code, a.body)
		}
	}
	for _, u := range unfit {
		if makeFilm(t, dir, u.name, u.args) {
			refuse(filepath.Join(dir, u.name), u.found)
		}
	}
	whole, err := os.ReadFile(filepath.Join(dir, "moov-at-the-end.mp4"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"truncated": string(whole[:len(whole)/3]), "no mp4": "a text, and no film at all"} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		refuse(file, map[string]string{"truncated": "cut short", "no mp4": "unknown kind"}[name])
	}
}
