package metrics

// Prices are rough prices of one segment, in US dollars, by country; ZZ is for
// the countries that are not listed. They are of the order of what is charged
// for a plain long code, with carriers' fees where those are usual. They are a
// parameter of an estimate and not a quote: see
// https://www.twilio.com/en-us/sms/pricing for those, and pass your own.
func Prices() map[string]float64 {
	return map[string]float64{
		"US": 0.012, "CA": 0.015, "PR": 0.05, "MX": 0.06,
		"AR": 0.08, "BR": 0.07, "CL": 0.07, "CO": 0.06, "PE": 0.08,
		"GB": 0.05, "IE": 0.08, "FR": 0.08, "DE": 0.11, "AT": 0.10, "CH": 0.08,
		"NL": 0.11, "BE": 0.11, "LU": 0.09, "ES": 0.09, "PT": 0.06, "IT": 0.09,
		"DK": 0.07, "FI": 0.09, "IS": 0.09, "NO": 0.08, "SE": 0.06,
		"CZ": 0.08, "EE": 0.09, "GR": 0.09, "HR": 0.09, "HU": 0.10, "LT": 0.06,
		"LV": 0.07, "PL": 0.05, "RO": 0.08, "SI": 0.10, "SK": 0.09, "UA": 0.13,
		"AE": 0.10, "EG": 0.30, "IL": 0.24, "IN": 0.08, "NG": 0.30, "PK": 0.35,
		"SA": 0.12, "TR": 0.04, "ZA": 0.05,
		"AU": 0.05, "NZ": 0.10, "HK": 0.08, "ID": 0.40, "JP": 0.09, "KR": 0.05,
		"MY": 0.20, "PH": 0.20, "SG": 0.05, "TH": 0.03, "TW": 0.07, "VN": 0.15,
		elsewhere: 0.30,
	}
}

// price is that of one segment to a country of ours.
func (m *Metrics) price(country string) float64 {
	if p, ok := m.prices[country]; ok {
		return p
	}
	return m.prices[elsewhere]
}
