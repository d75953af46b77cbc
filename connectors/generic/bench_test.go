package generic

import (
	"fmt"
	"strings"
	"testing"

	"github.com/winchdata/winch/pkg/connector"
)

// A page of orders on its way from the answer to the emitter.
func BenchmarkPageOfOrders(b *testing.B) {
	var rows []string
	for i := range 100 {
		rows = append(rows, fmt.Sprintf(`{"order_id":"%d","ship_type":"local","order_status":"READY_TO_SHIP","quote_price":"28.50",`+
			`"confirm_shipment":"Y","tracking_number":null,"client_remarks":null,"create_time":"2025-03-04T17:28:55+08:00"}`, 9000000+i))
	}
	body := []byte(`{"data":{"order_list":[` + strings.Join(rows, ",") + `]}}`)
	s := &source{cfg: config{PersonalData: personalKeep}, api: shownPreset()}
	st := s.api.streams[0]
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		records, err := s.api.split(st, body)
		if err != nil {
			b.Fatal(err)
		}
		for _, raw := range records {
			if record, err := s.shape(st, nil, connector.Window{Since: march.Since, Until: march.Until}, raw); err != nil || record == nil {
				b.Fatal(record, err)
			}
		}
	}
}
