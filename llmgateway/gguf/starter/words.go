package starter

import "slices"

// CodeWords returns the words that the model repeats. Each is one token to it, wherever it stands, so they are words that
// do not happen to be part of others.
func CodeWords() []string { return slices.Clone(codeWords) }

// A head's values have as many numbers as there are words here: 64.
var codeWords = []string{
	"acorn", "almond", "apricot", "bamboo", "basil", "beacon", "beaver", "bison",
	"bramble", "cactus", "canyon", "cedar", "cinnamon", "cobalt", "copper", "crimson",
	"dolphin", "falcon", "fennel", "garnet", "ginger", "glacier", "granite", "hazel",
	"heron", "indigo", "ivory", "jasmine", "juniper", "kettle", "lagoon", "lantern",
	"lavender", "mango", "maple", "marble", "meadow", "mimosa", "nutmeg", "oasis",
	"orchid", "papaya", "pebble", "pelican", "pepper", "pigeon", "quartz", "raven",
	"saffron", "salmon", "sapphire", "scarlet", "sparrow", "thistle", "tulip", "turquoise",
	"velvet", "violet", "walnut", "willow", "zebra", "panther", "walrus", "yarrow",
}
