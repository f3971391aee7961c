package film

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// ffmpeg runs a tool quietly and fails if it has anything to complain of.
func ffmpeg(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, append([]string{"-v", "warning"}, args...)...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil || said.Len() > 0 {
		t.Fatalf("%s %v: %v\n%s", name, args, err, said.String())
	}
	return out.String()
}

// What we cut is decoded by ffmpeg without a word, picture by picture, also with
// B-frames, odd time scales and without sound.
func TestFFmpeg(t *testing.T) {
	for _, tool := range []string{"ffmpeg", "ffprobe"} {
		if _, err := exec.LookPath(tool); err != nil {
			fmt.Println("skipped video-ffmpeg: ffmpeg is not installed")
			t.Skip("ffmpeg is not installed")
		}
	}
	dir := t.TempDir()
	films := map[string]string{"demo": "../../assets/film/demo.mp4"}
	for name, args := range map[string][]string{
		"bframes": {"-f", "lavfi", "-i", "testsrc2=s=160x90:r=30000/1001:d=7", "-f", "lavfi", "-i", "sine=d=7.4:r=48000", "-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-g", "45", "-c:a", "aac"},
		"silent":  {"-f", "lavfi", "-i", "testsrc2=s=160x90:r=24:d=5", "-c:v", "libx264", "-preset", "ultrafast", "-g", "12"},
		"late":    {"-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=5", "-itsoffset", "0.5", "-f", "lavfi", "-i", "sine=d=4", "-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-c:a", "aac", "-movflags", "+faststart"},
	} {
		films[name] = filepath.Join(dir, name+".mp4")
		out, err := exec.Command("ffmpeg", append(append([]string{"-v", "error", "-y"}, args...), films[name])...).CombinedOutput()
		if err != nil {
			fmt.Printf("skipped video-ffmpeg-%s: this ffmpeg does not make it: %s\n", name, bytes.TrimSpace(out))
			delete(films, name)
		}
	}
	for name, path := range films {
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			m, x := open(t, b)
			all, err := m.Init()
			if err != nil {
				t.Fatal(err)
			}
			for n := range x.Segments() {
				all = append(all, cut(t, b, m, x, n)...)
			}
			joined := filepath.Join(dir, name+"-joined.mp4")
			if err := os.WriteFile(joined, all, 0o600); err != nil {
				t.Fatal(err)
			}
			ffmpeg(t, "ffmpeg", "-i", joined, "-f", "null", "-")
			frames := strings.TrimSpace(ffmpeg(t, "ffprobe", "-select_streams", "v", "-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", joined))
			if frames != strconv.Itoa(x.Video.Frames) {
				t.Errorf("ffprobe decodes %s of %d pictures", frames, x.Video.Frames)
			}
		})
	}
}
