package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"rain/cmd/internal/cli"
	"rain/snow/admin"
	"rain/video"
	"rain/video/film"
)

type videoCmd struct {
	Add videoAddCmd `cmd:"" help:"Store a film (MP4 with H.264 and AAC) and show it at /video/NAME/."`
	Ls  videoLsCmd  `cmd:"" help:"List the films."`
	Rm  videoRmCmd  `cmd:"" help:"Take a film off."`
}

type videoAddCmd struct {
	File     string   `arg:"" name:"file.mp4" help:"The film."`
	Name     string   `placeholder:"N" help:"Its name; else that of the file."`
	Poster   string   `placeholder:"FILE.jpg" help:"Its poster; else one is made by ffmpeg, if that is installed."`
	Captions []string `placeholder:"[LANG=]FILE.vtt" sep:"none" help:"Captions, as WebVTT; once for each language, such as de=FILE.vtt."`
}

func (v *videoAddCmd) Run(a *app) error {
	name := v.Name
	if name == "" {
		name = filmName(v.File)
	}
	if err := video.CheckName(name); err != nil {
		return &cli.Error{Exit: cli.BadInput, Code: "bad_name", Hint: "give it one with --name", Err: err}
	}
	f, st, err := openFile(v.File)
	if err != nil {
		return err
	}
	defer f.Close()
	if !st.Mode().IsRegular() {
		return cli.New(cli.BadInput, "", "", "%s is not a regular file", v.File)
	}
	// The node looks, too; but who looks first need not send a gigabyte in vain.
	m, err := film.Parse(f, st.Size())
	if err == nil {
		_, err = film.NewIndex(m, strings.Repeat("0", 64))
	}
	if err != nil {
		code := cli.Failed
		if errors.Is(err, film.ErrUnfit) {
			code = cli.BadInput
		}
		return &cli.Error{Exit: code, Code: "unfit_film", Err: fmt.Errorf("%s: %w", v.File, err)}
	}
	extras, err := v.extras(a, m.Duration())
	if err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	out, err := c.AddVideo(a.ctx, name, f, st.Size())
	if err != nil {
		return err
	}
	for _, e := range extras {
		if err := c.AttachVideo(a.ctx, name, e.what, bytes.NewReader(e.body), int64(len(e.body))); err != nil {
			return fmt.Errorf("the film is stored, its %s is not: %w", e.what, err)
		}
	}
	if len(extras) > 0 {
		if out, err = c.Video(a.ctx, name); err != nil {
			return err
		}
	}
	return a.print(out, func(w io.Writer) { describeFilm(w, out.Video) })
}

// filmName makes a name from a file's.
func filmName(file string) string {
	base := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-':
			return r
		case r == ' ':
			return '-'
		}
		return -1
	}, base)
}

type extra struct {
	what string
	body []byte
}

// extras are the poster and the captions, if there are any.
func (v *videoAddCmd) extras(a *app, length time.Duration) (out []extra, err error) {
	for _, given := range v.Captions {
		what, file := "captions", given
		if lang, path, ok := strings.Cut(given, "="); ok && !strings.ContainsAny(lang, "/\\") {
			what, file = "captions."+lang, path
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, &cli.Error{Exit: cli.BadInput, Err: err}
		}
		out = append(out, extra{what, b})
	}
	var poster []byte
	if v.Poster != "" {
		if poster, err = os.ReadFile(v.Poster); err != nil {
			return nil, &cli.Error{Exit: cli.BadInput, Err: err}
		}
	} else if poster, err = makePoster(a, v.File, length); err != nil {
		fmt.Fprintf(a.stderr, "rainctl: no poster: %v\n", err)
		return out, nil
	}
	if len(poster) > 0 {
		out = append(out, extra{"poster", poster})
	}
	return out, nil
}

// makePoster takes a picture out of the film's first fifth; without ffmpeg there
// is none, and no error.
func makePoster(a *app, file string, length time.Duration) ([]byte, error) {
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		return nil, nil
	}
	abs, err := filepath.Abs(file) // such as one that begins with a dash
	if err != nil {
		return nil, err
	}
	at := fmt.Sprintf("%.3f", min(length/5, 30*time.Second).Seconds())
	var out, said bytes.Buffer
	cmd := exec.CommandContext(a.ctx, path, "-v", "error", "-nostdin", "-protocol_whitelist", "file", "-ss", at, "-i", "file:"+abs,
		"-frames:v", "1", "-vf", "scale='min(1280,iw)':-2", "-q:v", "4", "-f", "mjpeg", "pipe:1")
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("ffmpeg: %w: %s", err, safe(strings.TrimSpace(said.String())))
	}
	return out.Bytes(), nil
}

func describeFilm(w io.Writer, v admin.Video) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	audio := v.AudioCodec
	if audio == "" {
		audio = "none"
	}
	for _, l := range [][2]any{
		{"film", safe(v.Name)}, {"path", safe(v.Path)}, {"length", filmTime(v.DurationMS)},
		{"picture", fmt.Sprintf("%d x %d, %g a second, %s", v.Width, v.Height, v.FrameRate, v.VideoCodec)}, {"sound", audio},
		{"size", fmt.Sprintf("%s, %d kbit/s", size(v.Size), v.AverageBits/1000)}, {"segments", v.Segments},
		{"poster", v.Poster}, {"captions", captionsText(v.Captions)}, {"sha256", v.SHA256}, {"stored", v.Stored}, {"survives", v.Survives},
	} {
		fmt.Fprintf(t, "%s\t%v\n", l[0], l[1])
	}
	_ = t.Flush() // w is a buffer
}

func captionsText(languages []string) string {
	if len(languages) == 0 {
		return "none"
	}
	var out []string
	for _, l := range languages {
		if l == "" {
			l = "of no named language"
		}
		out = append(out, safe(l))
	}
	return strings.Join(out, ", ")
}

func filmTime(ms int64) string {
	s := (ms + 500) / 1000
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

type videoLsCmd struct{}

func (*videoLsCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	films, err := c.Videos(a.ctx)
	if err != nil {
		return err
	}
	return a.print(admin.VideosAnswer{API: cli.API, Videos: films}, func(w io.Writer) {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "FILM\tLENGTH\tPICTURE\tSIZE\tSURVIVES\tPATH")
		for _, v := range films {
			fmt.Fprintf(t, "%s\t%s\t%d x %d\t%s\t%d\t%s\n", safe(v.Name), filmTime(v.DurationMS), v.Width, v.Height, size(v.Size), v.Survives, safe(v.Path))
		}
		_ = t.Flush() // w is a buffer
	})
}

type videoRmCmd struct {
	Name string `arg:"" help:"The film."`
}

func (v *videoRmCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.RemoveVideo(a.ctx, v.Name); err != nil {
		return err
	}
	return a.done("removed %s", safe(v.Name))
}
