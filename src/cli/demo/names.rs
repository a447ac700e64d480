//! Names, towns and streets out of which people are made. All of it is common, none of it is anybody.

/// Where somebody lives, and so how names, numbers and money are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Country {
    Britain,
    China,
    Germany,
    America,
}

impl Country {
    pub const fn code(self) -> &'static str {
        match self {
            Self::Britain => "GB",
            Self::China => "CN",
            Self::Germany => "DE",
            Self::America => "US",
        }
    }

    pub const fn currency(self) -> &'static str {
        match self {
            Self::Britain | Self::Germany => "EUR",
            Self::China => "CNY",
            Self::America => "USD",
        }
    }

    pub const fn cities(self) -> &'static [&'static str] {
        match self {
            Self::Britain => &["Leeds", "London", "Bristol", "York", "Glasgow", "Cardiff"],
            Self::China => &["上海", "北京", "杭州", "成都", "深圳", "苏州"],
            Self::Germany => &["Hamburg", "Köln", "Leipzig", "Bremen"],
            Self::America => &["Portland", "Boston", "Austin", "Chicago", "Denver"],
        }
    }

    pub const fn streets(self) -> &'static [&'static str] {
        match self {
            Self::Britain => &["High Street", "Mill Lane", "Church Road", "Station Road", "Park Row"],
            Self::China => &["中山路", "人民路", "解放路", "文化街", "花园路"],
            Self::Germany => &["Lindenstraße", "Bahnhofstraße", "Am Markt", "Gartenweg"],
            Self::America => &["Maple Avenue", "Oak Street", "Second Street", "Lake Drive"],
        }
    }
}

/// A name as its bearer writes it, and in the letters of an e-mail address.
pub type Spelled = (&'static str, &'static str);

pub const CHINESE_FAMILY: [Spelled; 24] = [
    ("王", "wang"),
    ("李", "li"),
    ("张", "zhang"),
    ("刘", "liu"),
    ("陈", "chen"),
    ("杨", "yang"),
    ("赵", "zhao"),
    ("黄", "huang"),
    ("周", "zhou"),
    ("吴", "wu"),
    ("徐", "xu"),
    ("孙", "sun"),
    ("胡", "hu"),
    ("朱", "zhu"),
    ("高", "gao"),
    ("林", "lin"),
    ("何", "he"),
    ("郭", "guo"),
    ("马", "ma"),
    ("罗", "luo"),
    ("梁", "liang"),
    ("宋", "song"),
    ("欧阳", "ouyang"),
    ("司马", "sima"),
];

pub const CHINESE_GIVEN: [Spelled; 32] = [
    ("伟", "wei"),
    ("芳", "fang"),
    ("娜", "na"),
    ("敏", "min"),
    ("静", "jing"),
    ("丽", "li"),
    ("强", "qiang"),
    ("磊", "lei"),
    ("洋", "yang"),
    ("艳", "yan"),
    ("勇", "yong"),
    ("军", "jun"),
    ("杰", "jie"),
    ("娟", "juan"),
    ("涛", "tao"),
    ("明", "ming"),
    ("小明", "xiaoming"),
    ("秀英", "xiuying"),
    ("桂英", "guiying"),
    ("建国", "jianguo"),
    ("晓燕", "xiaoyan"),
    ("志强", "zhiqiang"),
    ("雨桐", "yutong"),
    ("子涵", "zihan"),
    ("浩然", "haoran"),
    ("欣怡", "xinyi"),
    ("梓轩", "zixuan"),
    ("佳琪", "jiaqi"),
    ("文静", "wenjing"),
    ("思远", "siyuan"),
    ("海燕", "haiyan"),
    ("春梅", "chunmei"),
];

pub const ENGLISH_FAMILY: [&str; 40] = [
    "Smith",
    "Jones",
    "Taylor",
    "Brown",
    "Williams",
    "Wilson",
    "Johnson",
    "Davies",
    "Robinson",
    "Wright",
    "Thompson",
    "Evans",
    "Walker",
    "White",
    "Roberts",
    "Green",
    "Hall",
    "Wood",
    "Jackson",
    "Clarke",
    "Patel",
    "Khan",
    "Lewis",
    "James",
    "Phillips",
    "Mason",
    "Mitchell",
    "Rose",
    "Davis",
    "Rodriguez",
    "Cox",
    "Alexander",
    "Okafor",
    "O'Neill",
    "Murphy",
    "Bennett",
    "Price",
    "Foster",
    "Hughes",
    "Marsh",
];

/// First names, and what friends say instead where they do.
pub const ENGLISH_GIVEN: [(&str, Option<&str>); 40] = [
    ("Ada", None),
    ("Elizabeth", Some("Liz")),
    ("William", Some("Bill")),
    ("Katherine", Some("Kate")),
    ("James", Some("Jim")),
    ("Robert", Some("Bob")),
    ("Margaret", Some("Maggie")),
    ("Thomas", Some("Tom")),
    ("Grace", None),
    ("Chloe", None),
    ("Benjamin", Some("Ben")),
    ("Samuel", Some("Sam")),
    ("Daniel", Some("Dan")),
    ("Michael", Some("Mike")),
    ("Jennifer", Some("Jen")),
    ("Rebecca", Some("Becky")),
    ("Emily", None),
    ("Oliver", None),
    ("Amelia", None),
    ("George", None),
    ("Isla", None),
    ("Harry", None),
    ("Mia", None),
    ("Jack", None),
    ("Ruth", None),
    ("Noah", None),
    ("Lily", None),
    ("Leo", None),
    ("Freya", None),
    ("Arthur", None),
    ("Florence", None),
    ("Henry", None),
    ("Ivy", None),
    ("Oscar", None),
    ("Priya", None),
    ("Kiran", None),
    ("Omar", None),
    ("Fatima", None),
    ("Diego", None),
    ("Sofia", None),
];

pub const GERMAN_FAMILY: [Spelled; 12] = [
    ("Müller", "mueller"),
    ("Schmidt", "schmidt"),
    ("Schneider", "schneider"),
    ("Fischer", "fischer"),
    ("Weber", "weber"),
    ("Wagner", "wagner"),
    ("Becker", "becker"),
    ("Hoffmann", "hoffmann"),
    ("Schäfer", "schaefer"),
    ("Koch", "koch"),
    ("Yilmaz", "yilmaz"),
    ("Groß", "gross"),
];

pub const GERMAN_GIVEN: [Spelled; 12] = [
    ("Anna", "anna"),
    ("Jürgen", "juergen"),
    ("Lena", "lena"),
    ("Jonas", "jonas"),
    ("Käthe", "kaethe"),
    ("Felix", "felix"),
    ("Deniz", "deniz"),
    ("Marie", "marie"),
    ("Uwe", "uwe"),
    ("Sabine", "sabine"),
    ("Lukas", "lukas"),
    ("Jörg", "joerg"),
];
