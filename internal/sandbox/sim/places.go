package sim

import "strconv"

// A Country supplies names and telephone numbers.
//
// Companies are called "example" in the country's language and sit in invented
// towns. Numbers come only from ranges that the national regulators keep free
// for drama and documentation, so that no simulated caller is a real one: Ofcom
// (GB), PTS (SE), Arcep (FR), Bundesnetzagentur (DE), ACMA (AU), NANPA 555-01XX
// (US).
type Country struct {
	Code     string // ISO 3166-1
	Name     string
	Domain   string // for e-mail; reserved by RFC 2606
	Example  string
	Legal    string
	VAT      string // prefix of company numbers
	Trades   []string
	Towns    []string
	Streets  []string
	Given    []string
	Families []string
	Areas    []Area
}

// An Area is an area code and a reserved range of numbers within it.
type Area struct {
	Label string // code and name, as "20 London"
	First int64  // the first number of the range, E.164 without its plus sign
	Count int
}

// Countries are all there are.
var Countries = []Country{
	{
		Code: "SE", Name: "Sverige", Domain: "example.com", Example: "Exempel", Legal: "AB", VAT: "SE55",
		Trades:  []string{"Tandvård", "Bilverkstad", "Trädgård", "Rörmokeri", "Städtjänst", "Mäklarna"},
		Towns:   []string{"Åkerlöv", "Björnsjövik", "Kvarnhögen", "Älvrödala"},
		Streets: []string{"Påhittade gatan", "Exempelvägen", "Ingenstans gränd"},
		Given:   []string{"Åsa", "Björn", "Märta", "Örjan", "Saga", "Elif"}, Families: []string{"Exempelsson", "Påhittad", "Testlöv"},
		Areas: []Area{
			{"31 Göteborg", 46313900600, 100},
			{"40 Malmö", 46406280400, 100},
			{"8 Stockholm", 46846500400, 100},
			{"70 Mobil", 46701740605, 95},
		},
	},
	{
		Code: "GB", Name: "United Kingdom", Domain: "example.org", Example: "Example", Legal: "Ltd", VAT: "GB99",
		Trades:  []string{"Dental", "Motors", "Lending", "Plumbing & Heating", "Lettings", "Solicitors"},
		Towns:   []string{"Harrowmere", "Little Wexcombe", "Nether Ashby-on-Sea", "Dunnloch"},
		Streets: []string{"Nowhere Lane", "Specimen Street", "Sample Row"},
		Given:   []string{"Aoife", "Callum", "Priya", "Siân", "Owen", "Zoë"}, Families: []string{"Exampleton", "O'Sample", "Testerby"},
		Areas: []Area{
			{"20 London", 442079460000, 1000},
			{"121 Birmingham", 441214960000, 1000},
			{"131 Edinburgh", 441314960000, 1000},
			{"161 Manchester", 441614960000, 1000},
			{"7700 Mobile", 447700900000, 1000},
		},
	},
	{
		Code: "FR", Name: "France", Domain: "example.net", Example: "Exemple", Legal: "SARL", VAT: "FR00",
		Trades:  []string{"Plomberie", "Garage", "Immobilier", "Crédit", "Opticiens", "Pâtisserie"},
		Towns:   []string{"Évrelles-sur-Vanne", "Saint-Œuf", "Maçonbourg", "L'Haÿette"},
		Streets: []string{"rue de l'Exemple", "allée Fictive", "place du Spécimen"},
		Given:   []string{"Zoé", "François", "Noémie", "Loïc", "Anaïs", "Inès"}, Families: []string{"Exemplard", "Fictif", "d'Essai"},
		Areas: []Area{
			{"1 Île-de-France", 33199000000, 10000},
			{"2 Nord-Ouest", 33261910000, 10000},
			{"4 Sud-Est", 33465710000, 10000},
			{"5 Sud-Ouest", 33536490000, 10000},
			{"6 Mobile", 33639980000, 10000},
		},
	},
	{
		Code: "DE", Name: "Deutschland", Domain: "example.com", Example: "Beispiel", Legal: "GmbH", VAT: "DE00",
		Trades:  []string{"Autohaus", "Zahnärzte", "Küchen", "Gebäudereinigung", "Umzüge", "Schlüsseldienst"},
		Towns:   []string{"Grünauersfelde", "Mußbüttel", "Oberöhringen", "Klein Söhlen"},
		Streets: []string{"Beispielstraße", "Mustergasse", "Am Nirgendwo"},
		Given:   []string{"Jürgen", "Käthe", "Sören", "Björk", "Leyla", "Anneliese"}, Families: []string{"Mustermann", "Beispielmüller", "Testgroß"},
		Areas: []Area{
			{"30 Berlin", 493023125000, 1000},
			{"40 Hamburg", 494066969000, 1000},
			{"69 Frankfurt", 496990009000, 1000},
			{"89 München", 498999998000, 1000},
			{"176 Mobil", 4917604069000, 100},
		},
	},
	{
		Code: "AU", Name: "Australia", Domain: "example.org", Example: "Example", Legal: "Pty Ltd", VAT: "AU00",
		Trades:  []string{"Roofing", "Solar", "Physio", "Removals"},
		Towns:   []string{"Wurrabilla", "Port Example", "Mount Nonesuch"},
		Streets: []string{"Billabong Sample Road", "Nowhere Parade"},
		Given:   []string{"Bruce", "Sheila", "Nguyễn", "Tama"}, Families: []string{"Exampler", "Testwood"},
		Areas: []Area{
			{"2 Sydney", 61255500000, 10000},
			{"3 Melbourne", 61355500000, 10000},
			{"7 Brisbane", 61755500000, 10000},
		},
	},
	{
		Code: "US", Name: "United States", Domain: "example.com", Example: "Example", Legal: "Inc.", VAT: "US-",
		Trades:  []string{"Auto Glass", "Insurance", "HVAC", "Orthodontics"},
		Towns:   []string{"Springsample", "Peña Ficticia", "East Nowhere"},
		Streets: []string{"Specimen Avenue", "Main Street"},
		Given:   []string{"José", "Latoya", "Mei-Ling", "Dwayne"}, Families: []string{"Example", "Sampleton"},
		Areas: []Area{
			{"212 New York", 12125550100, 100},
			{"312 Chicago", 13125550100, 100},
			{"213 Los Angeles", 12135550100, 100},
		},
	},
}

// Number draws a telephone number of the country, without its plus sign, and
// the area that it lies in.
func (c *Country) Number(d *Dice) (number int64, area *Area) {
	area = &c.Areas[d.Below(len(c.Areas))]
	return area.First + int64(d.Below(area.Count)), area
}

// E164 is the text of a number: "+4689600000".
func E164(number int64) string { return "+" + strconv.FormatInt(number, 10) }
