package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What winch connectors NAME prints and what the connector's README says are the
// same settings with the same meaning, and the same streams and columns.
func TestConnectorsPrintsWhatTheReadmeSays(t *testing.T) {
	t.Parallel()
	for _, def := range bundled() {
		readme, err := os.ReadFile("../../connectors/" + def.Name + "/README.md")
		if err != nil {
			t.Fatal(err)
		}
		out := &bytes.Buffer{}
		a := &app{stdout: out}
		if err := a.printConnector(def); err != nil {
			t.Fatal(err)
		}
		top, streams, _ := strings.Cut(out.String(), "\nstream ")

		var want, got []string
		for _, cells := range tableOf(string(readme), "settings") {
			meaning := strings.TrimSpace(cells[2])
			switch value := strings.Trim(cells[1], "` "); value {
			case "":
			case "required":
				meaning = "required; " + meaning
			default:
				meaning += " Default: " + value
			}
			want = append(want, strings.TrimSpace(strings.Trim(cells[0], "` ")+": "+meaning))
		}
		_, settings, _ := strings.Cut(top, "settings (under config:)\n")
		for line := range strings.Lines(settings) {
			name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			if name == "" {
				continue
			}
			// The kind lies between name and meaning, with two blanks after it.
			_, meaning, _ := strings.Cut(strings.TrimSpace(rest), "  ")
			got = append(got, strings.TrimSpace(name+": "+strings.TrimSpace(meaning)))
		}
		if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
			t.Errorf("%s: settings (-README +printed):\n%s", def.Name, diff)
		}

		want, got = nil, nil
		for _, cells := range tableOf(string(readme), "streams") {
			name := strings.Trim(cells[0], "`* ")
			want = append(want, name+" "+strings.TrimSpace(strings.SplitN(strings.TrimSpace(cells[1]), " ", 2)[0]))
			for column := range strings.SplitSeq(strings.TrimSpace(cells[3]), ", ") {
				want = append(want, name+"."+column)
			}
		}
		for stream := range strings.SplitSeq(streams, "\nstream ") {
			name, rest, _ := strings.Cut(stream, " (")
			mode, rest, _ := strings.Cut(rest, ", ")
			got = append(got, name+" "+mode)
			_, rest, _ = strings.Cut(rest, "\n") // of the heading
			_, rest, _ = strings.Cut(rest, "\n") // description
			for line := range strings.Lines(rest) {
				fields := strings.Fields(line)
				if len(fields) == 0 || strings.Contains(line, "(secret: never stored)") {
					continue
				}
				if strings.HasSuffix(strings.TrimSpace(line), "(personal)") {
					fields[0] += `\*`
				}
				got = append(got, name+"."+fields[0])
			}
		}
		for i := range want {
			want[i] = strings.TrimSuffix(want[i], ",")
		}
		if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
			t.Errorf("%s: streams (-README +printed):\n%s", def.Name, diff)
		}
	}
}

// tableOf returns the cells of the rows of a README's table, without its heading.
func tableOf(readme, mark string) (rows [][]string) {
	_, rest, _ := strings.Cut(readme, "<!-- "+mark+" -->\n")
	table, _, _ := strings.Cut(rest, "<!-- /"+mark+" -->")
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if len(cells) > 2 && !strings.HasPrefix(strings.TrimSpace(cells[0]), "---") {
			rows = append(rows, cells)
		}
	}
	return rows[1:]
}
