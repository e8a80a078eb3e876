/* words.c - see words.h. English is a matter of lists; they are here, and short names that no list knows get the
 * regular treatment. */
#include "emoji/words.h"

#include <stdio.h>
#include <string.h>

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static bool ends(const char *text, const char *with)
{
    size_t n = strlen(text), m = strlen(with);
    return n >= m && strcmp(text + n - m, with) == 0;
}

static bool listed(const char *word, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(*list, word) == 0)
            return true;
    return false;
}

static bool has_any(const char *text, const char *const *list)
{
    for (; *list; list++)
        if (strstr(text, *list))
            return true;
    return false;
}

/* ------------------------------------------------------------------------------------------ lists */

static const char *const without_article[] = {"bread",
                                              "baguette bread",
                                              "flatbread",
                                              "stuffed flatbread",
                                              "garlic",
                                              "broccoli",
                                              "bacon",
                                              "popcorn",
                                              "butter",
                                              "salt",
                                              "canned food",
                                              "cooked rice",
                                              "curry rice",
                                              "spaghetti",
                                              "oden",
                                              "sushi",
                                              "meat on bone",
                                              "shaved ice",
                                              "soft ice cream",
                                              "ice cream",
                                              "sake",
                                              "mate",
                                              "ice",
                                              "wood",
                                              "fire",
                                              "fog",
                                              "soap",
                                              "dna",
                                              "yarn",
                                              "thread",
                                              "american football",
                                              "badminton",
                                              "ping pong",
                                              "field hockey",
                                              "ice hockey",
                                              "lacrosse",
                                              "tennis",
                                              "bowling",
                                              "camping",
                                              "cooking",
                                              "construction",
                                              "nail polish",
                                              "confetti",
                                              "leafy green",
                                              "bubble tea",
                                              "pouring liquid",
                                              "night with stars",
                                              "sunrise over mountains",
                                              "cityscape at dusk",
                                              "bridge at night",
                                              "money with wings",
                                              "building construction",
                                              "roll of paper",
                                              "fried shrimp",
                                              "mahjong red dragon",
                                              "horse racing",
                                              "breast-feeding",
                                              "rolling on the floor laughing",
                                              "dashing away",
                                              "person taking bath",
                                              "Mrs. Claus",
                                              "Santa Claus",
                                              "mx claus",
                                              "mount fuji",
                                              "Tokyo tower",
                                              "locked",
                                              "unlocked",
                                              "star-struck",
                                              "ZZZ",
                                              "high voltage",
                                              "copyright",
                                              "registered",
                                              "trade mark",
                                              "multiply",
                                              "plus",
                                              "minus",
                                              "divide",
                                              "infinity",
                                              "om",
                                              "raising hands",
                                              "foggy",
                                              "sunrise",
                                              "sunset",
                                              "water polo",
                                              "hair",
                                              "folded hands",
                                              "kissing",
                                              "radioactive",
                                              "biohazard",
                                              "prohibited",
                                              "Aries",
                                              "Taurus",
                                              "Gemini",
                                              "Cancer",
                                              "Leo",
                                              "Virgo",
                                              "Libra",
                                              "Scorpio",
                                              "Sagittarius",
                                              "Capricorn",
                                              "Aquarius",
                                              "Pisces",
                                              "Ophiuchus",
                                              "customs",
                                              "baggage claim",
                                              "left luggage",
                                              "luggage",
                                              "passport control",
                                              "currency exchange",
                                              "potable water",
                                              "non-potable water",
                                              "recycling symbol",
                                              "information",
                                              "performing arts",
                                              "milky way",
                                              "litter in bin sign",
                                              "warning",
                                              "no entry",
                                              "counterclockwise arrows button",
                                              "female sign",
                                              "male sign",
                                              "children crossing",
                                              "medical symbol",
                                              "mending heart",
                                              "palms up together",
                                              "oncoming fist",
                                              "selfie",
                                              "chart increasing",
                                              "chart decreasing",
                                              "chart increasing with yen",
                                              "yin yang",
                                              "heart on fire",
                                              NULL};

/* Of those above, what may still stand in a scene ("bread left of a rocket"). */
static const char *const abstract_names[] = {"construction",
                                             "camping",
                                             "cooking",
                                             "building construction",
                                             "horse racing",
                                             "breast-feeding",
                                             "locked",
                                             "unlocked",
                                             "copyright",
                                             "registered",
                                             "trade mark",
                                             "multiply",
                                             "plus",
                                             "minus",
                                             "divide",
                                             "infinity",
                                             "foggy",
                                             "sunrise",
                                             "sunset",
                                             "sunrise over mountains",
                                             "night with stars",
                                             "cityscape at dusk",
                                             "bridge at night",
                                             "customs",
                                             "baggage claim",
                                             "left luggage",
                                             "passport control",
                                             "currency exchange",
                                             "potable water",
                                             "non-potable water",
                                             "information",
                                             "performing arts",
                                             "warning",
                                             "no entry",
                                             "prohibited",
                                             "children crossing",
                                             "milky way",
                                             "fog",
                                             "dashing away",
                                             "radioactive",
                                             "biohazard",
                                             "om",
                                             "cityscape",
                                             "national park",
                                             "desert",
                                             "stadium",
                                             "foggy",
                                             "restroom",
                                             "water closet",
                                             "cinema",
                                             "wavy dash",
                                             "curly loop",
                                             "double curly loop",
                                             "sparkle",
                                             "eject",
                                             "antenna bars",
                                             "vibration mode",
                                             "mobile phone off",
                                             "heavy dollar sign",
                                             "place of worship",
                                             "heavy equals sign",
                                             "no bicycles",
                                             "no smoking",
                                             "no littering",
                                             "no pedestrians",
                                             "no mobile phones",
                                             "no one under eighteen",
                                             "part alternation mark",
                                             "high voltage",
                                             "input numbers",
                                             "hundred points",
                                             "non-potable",
                                             "chart increasing",
                                             "chart decreasing",
                                             "chart increasing with yen",
                                             "kiss",
                                             "family",
                                             "stop sign",
                                             NULL};

static const char *const zodiac[] = {"Aries",    "Taurus", "Gemini",    "Cancer",      "Leo",
                                     "Virgo",    "Libra",  "Scorpio",   "Sagittarius", "Capricorn",
                                     "Aquarius", "Pisces", "Ophiuchus", NULL};

static const char *const sign_parts[] = {"button",
                                         "arrow",
                                         "keycap",
                                         "symbol",
                                         " sign",
                                         "input ",
                                         "quare",
                                         "circle",
                                         "mark",
                                         "Japanese",
                                         "o'clock",
                                         "thirty",
                                         "no ",
                                         "flag",
                                         "medium",
                                         "suit",
                                         "speaker ",
                                         "currency",
                                         "hollow",
                                         "family of",
                                         "kiss ",
                                         "'s room",
                                         "couple with heart,",
                                         "eight-",
                                         "diamond",
                                         "triangle",
                                         "curly hair:",
                                         NULL};

static const char *const with_the[] = {"Statue of Liberty", "kaaba", "sun", NULL};

/* Words that end in s and are one thing. */
static const char *const singular_s[] = {
    "glass",      "cactus",       "dress",  "octopus",  "bus",          "compass",    "cross",
    "hibiscus",   "lotus",        "abacus", "press",    "princess",     "trolleybus", "minibus",
    "rhinoceros", "hippopotamus", "walrus", "tennis",   "business",     "sauropods",  "canvas",
    "princess",   "moss",         "iris",   "mattress", "asparagus",    "virus",      "goddess",
    "ness",       "oncoming bus", "lens",   "Claus",    "hippopotamus", "us",         NULL};

static const char *const colour_words[] = {"red ",   "orange ", "yellow ", "green ", "blue ", "purple ",
                                           "brown ", "black ",  "white ",  "pink ",  NULL};

typedef struct word_pair {
    const char *from, *to;
} word_pair;

static const word_pair irregular[] = {
    {"man", "men"},
    {"woman", "women"},
    {"mouse", "mice"},
    {"tooth", "teeth"},
    {"foot", "feet"},
    {"leaf", "leaves"},
    {"knife", "knives"},
    {"wolf", "wolves"},
    {"scarf", "scarves"},
    {"person", "people"},
    {"child", "children"},
    {"ox", "oxen"},
    {"fish", "fish"},
    {"deer", "deer"},
    {"bison", "bison"},
    {"shrimp", "shrimp"},
    {"squid", "squid"},
    {"ram", "rams"},
    {"goose", "geese"},
    {"snowman", "snowmen"},
    {"merman", "mermen"},
    {"loaf", "loaves"},
    {"shelf", "shelves"},
    {"elf", "elves"},
    {"tomato", "tomatoes"},
    {"potato", "potatoes"},
    {"volcano", "volcanoes"},
    {"mosquito", "mosquitoes"},
    {"buffalo", "buffaloes"},
    {"dice", "dice"},
    {"die", "dice"},
    {"aircraft", "aircraft"},
    {"blowfish", "blowfish"},
    {"dragonfly", "dragonflies"},
    {"cactus", "cacti"},
    {"swordfish", "swordfish"},
    {"superhero", "superheroes"},
};

static const word_pair aliases[] = {
    {"automobile", "car"},
    {"red apple", "apple"},
    {"red heart", "heart"},
    {"airplane", "plane"},
    {"mobile phone", "phone"},
    {"television", "TV"},
    {"crescent moon", "moon"},
    {"bicycle", "bike"},
    {"hamburger", "burger"},
    {"beer mug", "beer"},
    {"wine glass", "glass of wine"},
    {"hot beverage", "cup of coffee"},
    {"deciduous tree", "tree"},
    {"evergreen tree", "pine tree"},
    {"birthday cake", "cake"},
    {"doughnut", "donut"},
    {"wrapped gift", "present"},
    {"soccer ball", "football"},
    {"honeybee", "bee"},
    {"lady beetle", "ladybug"},
    {"closed book", "book"},
    {"grinning face", "smiley"},
    {"french fries", "fries"},
    {"articulated lorry", "lorry"},
    {"fire engine", "fire truck"},
    {"laptop", "laptop computer"},
    {"jack-o-lantern", "Halloween pumpkin"},
    {"T-Rex", "tyrannosaurus"},
    {"flying saucer", "UFO"},
    {"umbrella", "open umbrella"},
    {"pile of poo", "poop"},
    {"t-shirt", "shirt"},
    {"kiwi fruit", "kiwi"},
    {"high-heeled shoe", "high heel"},
    {"ear of corn", "corn cob"},
    {"hot pepper", "chili pepper"},
    {"glowing star", "shining star"},
    {"game die", "die"},
    {"magnifying glass tilted left", "magnifying glass"},
    {"sunglasses", "dark glasses"},
    {"tiger face", "face of a tiger"},
    {"dog face", "face of a dog"},
    {"cat face", "face of a cat"},
    {"mouse face", "face of a mouse"},
    {"locomotive", "steam train"},
    {"sport utility vehicle", "SUV"},
    {"passenger ship", "cruise ship"},
    {"light bulb", "lamp bulb"},
    {"snowman without snow", "simple snowman"},
    {"video game", "game controller"},
    {"house", "little house"},
    {"rabbit", "bunny"},
    {"baby chick", "chick"},
    {"eggplant", "aubergine"},
    {"police car light", "siren"},
};

/* ------------------------------------------------------------------------------- short names */

static void copy(char *to, const char *from)
{
    snprintf(to, PHRASE_SIZE, "%s", from);
}

static void replace_all(char *text, const char *from, const char *to)
{
    char out[PHRASE_SIZE], *at;
    while ((at = strstr(text, from))) {
        snprintf(out, sizeof out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
        copy(text, out);
    }
}

/* "man, woman, boy" to "a man, a woman and a boy". */
static void list_people(char *to, const char *names)
{
    size_t used = 0;
    to[0] = '\0';
    while (*names && used < PHRASE_SIZE - 1) {
        const char *comma = strstr(names, ", ");
        size_t length = comma ? (size_t)(comma - names) : strlen(names);
        const char *before = used == 0 ? "" : comma ? ", " : " and ";
        used += (size_t)snprintf(to + used, PHRASE_SIZE - used, "%sa %.*s", before, (int)length, names);
        names += length + (comma ? 2 : 0);
    }
}

static void flag_phrase(const char *country, char *to)
{
    static const char *const plural_lands[] = {
        "Islands",  "United ", "Bahamas",    "Netherlands", "Philippines", "Maldives", "Republic",
        "Emirates", "Comoros", "Seychelles", "Territor",    "Vatican",     NULL};
    snprintf(to, PHRASE_SIZE, "flag of %s%.80s", has_any(country, plural_lands) ? "the " : "", country);
    replace_all(to, "&", "and");
}

static void hair_phrase(const char *name, char *to)
{
    const char *colon = strstr(name, ": ");
    const char *what = colon + 2;
    int who = (int)(colon - name);
    if (strcmp(what, "bald") == 0)
        snprintf(to, PHRASE_SIZE, "bald %.*s", who, name);
    else if (strcmp(what, "beard") == 0)
        snprintf(to, PHRASE_SIZE, "%.*s with a beard", who, name);
    else
        snprintf(to, PHRASE_SIZE, "%.*s with %s", who, name, what);
}

static void spell(const char *name, char *to)
{
    char clean[PHRASE_SIZE], people[PHRASE_SIZE];
    copy(clean, name);
    replace_all(clean, "\xE2\x80\x99", "'");
    replace_all(clean, "\xE2\x80\x9C", "");
    replace_all(clean, "\xE2\x80\x9D", "");
    replace_all(clean, " (blood type)", "");
    replace_all(clean, "!", "");
    if (starts(clean, "flag: "))
        flag_phrase(clean + 6, to);
    else if (starts(clean, "keycap: "))
        snprintf(to, PHRASE_SIZE, "keycap %s", clean + 8);
    else if (starts(clean, "family: ")) {
        list_people(people, clean + 8);
        snprintf(to, PHRASE_SIZE, "family of %.80s", people);
    } else if (starts(clean, "kiss: ")) {
        list_people(people, clean + 6);
        snprintf(to, PHRASE_SIZE, "kiss between %.80s", people);
    } else if (starts(clean, "couple with heart: ")) {
        list_people(people, clean + 19);
        snprintf(to, PHRASE_SIZE, "couple with heart, %.70s", people);
    } else if (strstr(clean, ": "))
        hair_phrase(clean, to);
    else if (ends(clean, "o'clock") || ends(clean, "-thirty"))
        snprintf(to, PHRASE_SIZE, "clock showing %.80s", clean);
    else if (listed(clean, zodiac))
        snprintf(to, PHRASE_SIZE, "%.80s zodiac sign", clean);
    else
        copy(to, clean);
}

/* ------------------------------------------------------------------------------------ grammar */

const char *words_article(const char *noun)
{
    static const char *const a_vowel[] = {"unicorn", "uni", "Uni", "one", "ukulele",
                                          "euro",    "UFO", "eu",  "US",  NULL};
    static const char *const an_other[] = {"hour", "honest", "x-ray", "SOS", "NG ", "SUV",
                                           "FM",   "8",      "18",    "MRI", NULL};
    for (const char *const *w = a_vowel; *w; w++)
        if (starts(noun, *w))
            return "a";
    for (const char *const *w = an_other; *w; w++)
        if (starts(noun, *w))
            return "an";
    return noun[0] && strchr("aeiouAEIOU", noun[0]) ? "an" : "a";
}

/* Where the head of the phrase ends: before the first preposition. */
static size_t head_length(const char *noun)
{
    static const char *const after[] = {
        " with ", " of ",      " on ",      " in ",      " at ", " without ", " behind ",  " from ", " over ",
        " and ",  " holding ", " wearing ", " showing ", ", ",   " tilted ",  " feeding ", " for ",  NULL};
    size_t best = strlen(noun);
    for (const char *const *w = after; *w; w++) {
        const char *at = strstr(noun, *w);
        if (at && at > noun && (size_t)(at - noun) < best)
            best = (size_t)(at - noun);
    }
    return best;
}

static void plural_word(const char *word, char *out, size_t size)
{
    size_t n = strlen(word);
    for (size_t i = 0; i < sizeof irregular / sizeof *irregular; i++)
        if (strcmp(irregular[i].from, word) == 0) {
            snprintf(out, size, "%s", irregular[i].to);
            return;
        }
    if (n > 1 && word[n - 1] == 'y' && !strchr("aeiou", word[n - 2]))
        snprintf(out, size, "%.*sies", (int)n - 1, word);
    else if (ends(word, "s") || ends(word, "x") || ends(word, "z") || ends(word, "ch") || ends(word, "sh"))
        snprintf(out, size, "%ses", word);
    else
        snprintf(out, size, "%ss", word);
}

void words_plural(const char *noun, char *out, size_t size)
{
    size_t head = head_length(noun), start = head;
    while (start > 0 && noun[start - 1] != ' ')
        start--;
    char word[PHRASE_SIZE], many[PHRASE_SIZE + 4];
    snprintf(word, sizeof word, "%.*s", (int)(head - start), noun + start);
    plural_word(word, many, sizeof many);
    snprintf(out, size, "%.*s%s%s", (int)start, noun, many, noun + head);
}

/* Whether the head noun is a plural already: "grapes", "crossed swords". */
static bool is_plural(const char *noun)
{
    size_t head = head_length(noun), start = head;
    while (start > 0 && noun[start - 1] != ' ')
        start--;
    char word[PHRASE_SIZE];
    snprintf(word, sizeof word, "%.*s", (int)(head - start), noun + start);
    if (strcmp(word, "people") == 0 || starts(noun, "people ") || starts(noun, "men ") ||
        starts(noun, "women "))
        return true;
    if (starts(noun, "person ") || starts(noun, "man ") || starts(noun, "woman ") ||
        strcmp(noun, "fleur-de-lis") == 0)
        return false;
    return ends(word, "s") && !ends(word, "ss") && !ends(word, "'s") && !listed(word, singular_s);
}

const char *words_number(int n)
{
    static const char *const names[] = {"no",  "one",   "two",   "three", "four", "five",
                                        "six", "seven", "eight", "nine",  "ten"};
    return n >= 0 && n <= 10 ? names[n] : "many";
}

/* Phrases that describe doing, or a state: "person running" is counted and stands in scenes, "face savoring food"
 * too, but their plural would be odd. */
static bool counts(const phrase *p)
{
    static const char *const odd[] = {"ing ", "face",    "hand",  "fist", "person",
                                      "man",  "thumbs ", " done", "nose", NULL};
    return p->object && p->article == ARTICLE_A && !has_any(p->noun, odd) && !ends(p->noun, "ing") &&
           !strstr(p->noun, " pointing ");
}

void words_phrase(const char *name, phrase *out)
{
    memset(out, 0, sizeof *out);
    spell(name, out->noun);
    out->article = ARTICLE_A;
    if (listed(out->noun, with_the) || starts(out->noun, "flag of"))
        out->article = ARTICLE_THE;
    else if (listed(out->noun, without_article) || is_plural(out->noun) || starts(out->noun, "no ") ||
             starts(out->noun, "input "))
        out->article = ARTICLE_NONE;
    out->object =
        !has_any(out->noun, sign_parts) && !listed(out->noun, abstract_names) && !listed(out->noun, zodiac);
    for (const char *const *w = colour_words; *w; w++)
        if (starts(out->noun, *w) && !strchr(out->noun + strlen(*w), ' '))
            copy(out->plain, out->noun + strlen(*w));
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (strcmp(aliases[i].from, out->noun) == 0)
            copy(out->alias, aliases[i].to);
    if (counts(out))
        words_plural(out->noun, out->plural, sizeof out->plural);
}
