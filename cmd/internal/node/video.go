package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"rain/assets"
	"rain/snow/admin"
	"rain/video"
	"rain/video/film"
)

// buildVideo mounts the films on the web server.
func (n *node) buildVideo(context.Context) (func(), error) {
	srv, err := video.New(video.DefaultConfig(), video.Deps{
		Content: n.store, Hosts: n.vipHosts, Player: assets.Dist(), Viewers: n.streams, Now: time.Now, NewID: newVersionToken,
	}, n.log.With("layer", "video"))
	if err != nil {
		return nil, err
	}
	n.video = srv
	return nil, n.web.Mount(video.Prefix, srv.Handle)
}

// vipHosts are the virtual addresses with their port.
func (n *node) vipHosts() []string {
	t := n.vips.Table()
	out := make([]string, 0, len(t.Entries))
	for i := range t.Entries {
		out = append(out, vipAddr(t.Entries[i].Addr(), n.file.Web.VIPPort))
	}
	return out
}

// films are the films as the admin address wants them.
type films struct{ s *video.Server }

func (f films) Add(ctx context.Context, name string, body io.Reader, size int64) (admin.Video, bool, error) {
	v, created, err := f.s.Add(ctx, name, body, size)
	return toAdmin(v), created, filmError(err)
}

func (f films) Attach(ctx context.Context, name, what string, body io.Reader) error {
	return filmError(f.s.Attach(ctx, name, what, body))
}

func (f films) Get(ctx context.Context, name string) (admin.Video, error) {
	v, err := f.s.Film(ctx, name)
	return toAdmin(v), filmError(err)
}

func (f films) List(ctx context.Context) ([]admin.Video, error) {
	list, err := f.s.Films(ctx)
	out := make([]admin.Video, 0, len(list))
	for _, v := range list {
		out = append(out, toAdmin(v))
	}
	return out, filmError(err)
}

func (f films) Remove(ctx context.Context, name string) error {
	return filmError(f.s.Remove(ctx, name))
}

func toAdmin(v video.Film) admin.Video {
	out := admin.Video{
		Name: v.Name, SHA256: v.SHA256, Size: v.Size, DurationMS: v.DurationMS,
		Width: v.Video.Width, Height: v.Video.Height, FrameRate: v.Video.FrameRate, VideoCodec: v.Video.Codec,
		AverageBits: v.Average, PeakBits: v.Peak, Segments: v.Segments(), Added: v.Added,
		Stored: v.Stored, Survives: v.Survives, Poster: v.Poster, Captions: v.Captions, Path: video.Prefix + "/" + v.Name + "/", Object: video.Bucket + "/" + v.Key,
	}
	if v.Audio != nil {
		out.AudioCodec = v.Audio.Codec
	}
	return out
}

// filmError says what kind of error it is in the admin address's words.
func filmError(err error) error {
	for _, k := range []struct{ is, kind error }{
		{video.ErrNotFound, admin.ErrNotFound}, {video.ErrChanged, admin.ErrConflict},
		{video.ErrBadName, admin.ErrBadInput}, {video.ErrBadExtra, admin.ErrBadInput}, {film.ErrUnfit, admin.ErrBadInput},
	} {
		if errors.Is(err, k.is) {
			return fmt.Errorf("%w: %w", k.kind, err)
		}
	}
	return err
}
