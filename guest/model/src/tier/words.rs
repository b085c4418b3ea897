//! The words of a question, in English and Chinese, and what they say of how hard it is.

/// What asks for thought, for precision or for a long answer.
const HARD: &[&str] = &[
    // Thought.
    "analyse*",
    "analyze*",
    "analysis",
    "analyzing",
    "analysing",
    "compare",
    "compares",
    "compared",
    "comparing",
    "comparison",
    "contrast",
    "prove",
    "proof",
    "derive",
    "evaluate",
    "evaluation",
    "assess",
    "assessment",
    "justify",
    "trade-off*",
    "tradeoff*",
    "pros and cons",
    "root cause",
    "step by step",
    "step-by-step",
    "in detail",
    "in depth",
    "explain why",
    "reason about",
    "think through",
    "strategy",
    "strategies",
    "optimise*",
    "optimize*",
    "diagnose",
    "troubleshoot*",
    "architecture",
    "algorithm*",
    "theorem",
    "hypothes*",
    // Numbers.
    "calculate",
    "calculation*",
    "compute",
    "equation*",
    "integral",
    "derivative",
    "probability",
    "statistic*",
    "amortization",
    "amortisation",
    "compound interest",
    "forecast*",
    // Texts that bind, or that are long.
    "contract*",
    "agreement",
    "clause*",
    "legal",
    "lawsuit",
    "liability",
    "regulation*",
    "compliance",
    "policy wording",
    "terms and conditions",
    "translate",
    "translation",
    "summarise",
    "summarize",
    "summary",
    "rewrite",
    "proofread",
    "essay",
    "write a report",
    "business plan",
    "proposal",
    // Programs.
    "code",
    "python",
    "javascript",
    "typescript",
    "java",
    "rust",
    "sql",
    "regex",
    "debug*",
    "stack trace",
    "traceback",
    "refactor*",
    "unit test*",
    "write a function",
    "write a script",
    "write a program",
    // The same in Chinese, in both scripts where they differ.
    "分析",
    "比较",
    "比較",
    "对比",
    "對比",
    "证明",
    "證明",
    "推导",
    "推導",
    "评估",
    "評估",
    "论证",
    "論證",
    "利弊",
    "优缺点",
    "優缺點",
    "一步一步",
    "一步步",
    "逐步",
    "详细",
    "詳細",
    "深入",
    "为什么会",
    "為什麼會",
    "原因是什么",
    "策略",
    "优化",
    "優化",
    "诊断",
    "診斷",
    "架构",
    "架構",
    "算法",
    "演算法",
    "计算",
    "計算",
    "方程",
    "概率",
    "機率",
    "统计",
    "統計",
    "利率",
    "复利",
    "複利",
    "预测",
    "預測",
    "合同",
    "合約",
    "协议",
    "協議",
    "条款",
    "條款",
    "法律",
    "诉讼",
    "訴訟",
    "违约",
    "違約",
    "法规",
    "法規",
    "合规",
    "合規",
    "翻译",
    "翻譯",
    "总结",
    "總結",
    "摘要",
    "改写",
    "改寫",
    "润色",
    "潤色",
    "论文",
    "論文",
    "报告",
    "報告",
    "方案",
    "代码",
    "代碼",
    "程式碼",
    "编程",
    "編程",
    "写程序",
    "脚本",
    "腳本",
    "函数",
    "函數",
    "调试",
    "調試",
    "重构",
    "重構",
    "正则",
    "正則",
];

/// What holds one of those words and is simple all the same.
const SIMPLE: &[&str] = &[
    "promo code",
    "discount code",
    "coupon code",
    "voucher code",
    "gift code",
    "verification code",
    "security code",
    "access code",
    "qr code",
    "bar code",
    "zip code",
    "postal code",
    "post code",
    "country code",
    "area code",
    "pin code",
    "error code",
    "tracking code",
    "booking code",
    "order code",
    "dress code",
    "二维码",
    "验证码",
    "优惠代码",
    "邮政编码",
];

/// What is said to greet, to thank or to take leave. Not what agrees or refuses: what that sets off stands in the history.
const GREETINGS: &[&str] = &[
    "hi",
    "hello",
    "hey",
    "hi there",
    "hello there",
    "hey there",
    "good morning",
    "good afternoon",
    "good evening",
    "how are you",
    "how are you doing",
    "thanks",
    "thank you",
    "thank you very much",
    "thanks a lot",
    "many thanks",
    "thx",
    "bye",
    "goodbye",
    "see you",
    "good night",
    "never mind",
    "你好",
    "您好",
    "嗨",
    "哈喽",
    "在吗",
    "在嗎",
    "有人吗",
    "有人嗎",
    "早上好",
    "早安",
    "中午好",
    "下午好",
    "晚上好",
    "晚安",
    "谢谢",
    "謝謝",
    "谢谢你",
    "谢谢您",
    "多谢",
    "多謝",
    "感谢",
    "感謝",
    "没事了",
    "再见",
    "再見",
    "拜拜",
];

/// The first character of the scripts without spaces between words (Chinese, Japanese and what stands near them).
const FIRST_WIDE_CHARACTER: char = '\u{2e80}';
/// The letters of Latin scripts end here.
const FIRST_FOREIGN_CHARACTER: char = '\u{0250}';
/// A text is of a script this table does not know when more than one letter in so many is.
const FOREIGN_LETTERS_ONE_IN: usize = 2;

/// The words of a question.
pub(super) struct Words {
    /// In small letters, with one space between words.
    text: String,
    letters: usize,
    foreign: usize,
}

/// A text in small letters, white space as one space, and the apostrophe as it is typed.
pub(super) fn plain(text: &str, characters_max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(4 * characters_max));
    push_plain(&mut out, text, characters_max);
    out
}

/// Returns how many characters were looked at.
fn push_plain(out: &mut String, text: &str, characters_max: usize) -> usize {
    let mut looked_at = 0;
    for character in text.chars().take(characters_max) {
        looked_at += 1;
        match character {
            '\u{2019}' => out.push('\''),
            character if character.is_whitespace() => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            character => out.extend(character.to_lowercase()),
        }
    }
    looked_at
}

fn is_wide(character: char) -> bool {
    character >= FIRST_WIDE_CHARACTER
}

/// Whether a word goes on over the border between these two characters.
fn joined(before: Option<char>, after: Option<char>) -> bool {
    let in_word = |character: Option<char>| {
        character.is_some_and(|character| character.is_alphanumeric() && !is_wide(character))
    };
    in_word(before) && in_word(after)
}

/// Whether `keyword` stands in `text` as words of it; both plain.
fn holds(text: &str, keyword: &str) -> bool {
    let (keyword, any_rest) = match keyword.strip_suffix('*') {
        Some(start) => (start, true),
        None => (keyword, false),
    };
    text.match_indices(keyword).any(|(at, found)| {
        let (before, after) = text.split_at(at);
        let after = after.get(found.len()..).unwrap_or_default();
        !joined(before.chars().next_back(), found.chars().next())
            && (any_rest || !joined(found.chars().next_back(), after.chars().next()))
    })
}

impl Words {
    pub(super) fn new<'a>(texts: impl Iterator<Item = &'a str>, characters_max: usize) -> Self {
        let mut text = String::new();
        let mut left = characters_max;
        for more in texts {
            if !text.is_empty() {
                text.push(' ');
            }
            left -= push_plain(&mut text, more, left);
        }
        let (mut letters, mut foreign) = (0, 0);
        for character in text.chars().filter(|character| character.is_alphabetic()) {
            letters += 1;
            foreign += usize::from(!is_wide(character) && character >= FIRST_FOREIGN_CHARACTER);
        }
        Self { text, letters, foreign }
    }

    /// Whether the tables know words of the script the question is written in.
    pub(super) fn are_known(&self) -> bool {
        self.foreign * FOREIGN_LETTERS_ONE_IN <= self.letters
    }

    /// Whether the question holds `keyword`.
    pub(super) fn hold(&self, keyword: &str) -> bool {
        holds(&self.text, keyword)
    }

    /// Whether it holds a word of the table.
    pub(super) fn are_hard(&self) -> bool {
        let found = |text: &str| HARD.iter().any(|keyword| holds(text, keyword));
        if !found(&self.text) {
            return false;
        }
        // Only now, which is seldom: what remains without the words that only look hard?
        let rest = SIMPLE.iter().fold(self.text.clone(), |text, simple| text.replace(simple, " "));
        found(&rest)
    }

    /// Whether there is nothing in it but greetings.
    pub(super) fn is_greeting(&self) -> bool {
        let phrases = self
            .text
            .split(|character: char| !character.is_alphanumeric() && !matches!(character, ' ' | '\''));
        let mut phrases = phrases.map(str::trim).filter(|phrase| !phrase.is_empty()).peekable();
        phrases.peek().is_some() && phrases.all(|phrase| GREETINGS.contains(&phrase))
    }

    /// How many question marks it has; several in a row are one.
    pub(super) fn question_marks(&self) -> usize {
        let mut last = ' ';
        let mark = |character: char| matches!(character, '?' | '\u{ff1f}');
        let first = |character: &char| {
            let begins = mark(*character) && !mark(last);
            last = *character;
            begins
        };
        self.text.chars().filter(first).count()
    }
}

/// Whether there is program text in it: a fence, or two lines that look like one.
pub(super) fn looks_like_code(text: &str) -> bool {
    const LINES_MIN: usize = 2;
    const LINES_MAX: usize = 400;
    if text.contains("```") {
        return true;
    }
    let looks = |line: &&str| {
        let line = line.trim();
        line.ends_with(['{', '}', ';'])
            || [
                "def ", "fn ", "class ", "import ", "#include", "SELECT ", "select ", "public ", "const ",
                "return ",
            ]
            .iter()
            .any(|start| line.starts_with(start) && line.contains(['(', ')', '=', '<', '*', ';']))
    };
    text.lines().take(LINES_MAX).filter(looks).take(LINES_MIN).count() == LINES_MIN
}
