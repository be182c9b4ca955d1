package doctor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Folder is a folder that the gateway writes into.
type Folder struct {
	// What says what it is for.
	What string
	Path string
}

// Folders looks whether files can be made in the folders, by making one and removing it. A folder that is not there yet must
// have a parent in which it can be made.
func Folders(folders []Folder) []Finding {
	var findings []Finding
	for _, folder := range folders {
		f := Finding{Area: "folder", Subject: folder.What, Verdict: OK, Detail: folder.Path + " can be written"}
		if err := writable(folder.Path); err != nil {
			f.Verdict, f.Detail = Failure, folder.Path+" cannot be written: "+reason(err)
			f.Advice = "give it to the user that the gateway runs as (chown), or configure another folder"
		}
		findings = append(findings, f)
	}
	return findings
}

func writable(path string) error {
	for {
		stat, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && filepath.Dir(path) != path:
			path = filepath.Dir(path)
			continue
		case err != nil:
			return err
		case !stat.IsDir():
			return &fs.PathError{Op: "open", Path: path, Err: errNoFolder}
		}
		probe, err := os.MkdirTemp(path, ".llmgateway-doctor-")
		if err != nil {
			return err
		}
		return os.Remove(probe)
	}
}

var errNoFolder = errors.New("it is no folder")

// reason returns an error without the path that it is about.
func reason(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}
