// Package migrations holds the numbered changes to the agent's own tables, one
// sequence for each kind of store. Files are never edited once released; a change
// is a new file in both folders.
package migrations

import (
	"embed"
	"io/fs"
)

//go:embed postgres/*.sql sqlite/*.sql
var files embed.FS

// Postgres returns the changes to the schema winch of a PostgreSQL database.
func Postgres() fs.FS { return sub("postgres") }

// SQLite returns the changes to the tables named winch.* of a SQLite file.
func SQLite() fs.FS { return sub("sqlite") }

func sub(dir string) fs.FS {
	tree, err := fs.Sub(files, dir)
	if err != nil {
		panic(err) // the folder is part of the program
	}
	return tree
}
