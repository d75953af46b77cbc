package kaisa

import (
	"fmt"

	"github.com/winchdata/winch/pkg/connector"
)

// Where a column is known from, as its description says it.
const (
	docCustomers         = "Developer API: /customers"
	docSources           = "Developer API: /sources"
	docStart             = "Kaisa API - Getting started"
	docAlt               = "Alternative answering numbers"
	docCDRsOut           = "Developer API: statistics cdrs out"
	docUsers             = "Developer API: /users"
	docCampaigns         = "Developer API: /customers/campaigns"
	docGreetings         = "Developer API: /customers/voicemail_greetings"
	docCallbacks         = "Developer API: /customers/callbacks"
	docConfirm           = "Developer API: /customers/confirmationcallback"
	docPincodes          = "Developer API: /customers/pincodes"
	docOrders            = "Developer API: customer orders"
	docStatuses          = "Developer API: /sources/statuses"
	docBlacklist         = "Developer API: /blacklist"
	docCustomerBlacklist = "Developer API: /customers/blacklist"
	docWidgets           = "Developer API: /widgets/data"
	docPHP               = "the vendor's PHP client"
	publicClient         = "inferred from a public client, spotonlive/sl-freespee"
	createSide           = "inferred from the parameters of creating one"
	byRequest            = "added from the request"
)

// from adds to the description of columns where they are known from.
func from(page string, columns ...connector.Column) []connector.Column {
	for i := range columns {
		columns[i].Description += " [" + page + "]"
	}
	return columns
}

func id(name, description string) connector.Column { return number(name, description) }

func number(name, description string) connector.Column {
	return connector.Column{Name: name, Type: connector.TypeBigint, Description: description}
}

// text is null where it is "", since the vendor writes absent text in both ways
// (Kaisa API - Getting started).
func text(name, description string) connector.Column {
	return connector.Column{Name: name, Type: connector.TypeText, EmptyIsNull: true, Description: description}
}

func boolean(name, description string) connector.Column {
	return connector.Column{Name: name, Type: connector.TypeBoolean, Description: description}
}

func money(name, description string) connector.Column {
	return connector.Column{Name: name, Type: connector.TypeNumeric, Description: description}
}

func moment(name, description string) connector.Column {
	return connector.Column{Name: name, Type: connector.TypeTimestamp, Formats: []string{timeLayout}, Description: description}
}

func blob(name, description string) connector.Column {
	return connector.Column{Name: name, Type: connector.TypeJSON, Description: description}
}

// under is for a value that stands under another name in the record.
func under(name string, c connector.Column) connector.Column {
	c.Path = []string{name}
	return c
}

func personal(c connector.Column) connector.Column {
	c.Personal = true
	return c
}

func secret(c connector.Column) connector.Column {
	c.Secret = true
	return c
}

// identifying is for a text of the primary key, where "" is a value.
func identifying(c connector.Column) connector.Column {
	c.EmptyIsNull = false
	return c
}

// custom are the columns custom_1 to custom_n.
func custom(n int) []connector.Column {
	columns := make([]connector.Column, n)
	for i := range columns {
		columns[i] = text(fmt.Sprintf("custom_%d", i+1), "Custom field, exists after Kaisa has set it up")
	}
	return columns
}
