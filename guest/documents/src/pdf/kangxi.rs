//! Characters that PDFs use for what they look like: radicals in place of ideographs, ligatures in place of letters.

/// The ideographs that look like the Kangxi radicals U+2F00 to U+2FD5, in their order (Unicode's compatibility decomposition).
const IDEOGRAPHS: &str = "\
    一丨丶丿乙亅二亠人儿入八冂冖冫几凵刀力勹匕匚匸十卜卩厂厶又口囗土士夂夊夕大女子宀寸小尢尸屮山巛工己巾干幺广廴\
    廾弋弓彐彡彳心戈戶手支攴文斗斤方无日曰月木欠止歹殳毋比毛氏气水火爪父爻爿片牙牛犬玄玉瓜瓦甘生用田疋疒癶白皮皿\
    目矛矢石示禸禾穴立竹米糸缶网羊羽老而耒耳聿肉臣自至臼舌舛舟艮色艸虍虫血行衣襾見角言谷豆豕豸貝赤走足身車辛辰辵\
    邑酉釆里金長門阜隶隹雨靑非面革韋韭音頁風飛食首香馬骨高髟鬥鬯鬲鬼魚鳥鹵鹿麥麻黃黍黑黹黽鼎鼓鼠鼻齊齒龍龜龠\
";

/// What the character stands for, where that is another.
pub(super) fn meant(character: char) -> Option<&'static str> {
    match character {
        '\u{2f00}'..='\u{2fd5}' => {
            let place = character as usize - 0x2f00;
            let (start, ideograph) = IDEOGRAPHS.char_indices().nth(place)?;
            IDEOGRAPHS.get(start..start + ideograph.len_utf8())
        }
        '\u{fb00}' => Some("ff"),
        '\u{fb01}' => Some("fi"),
        '\u{fb02}' => Some("fl"),
        '\u{fb03}' => Some("ffi"),
        '\u{fb04}' => Some("ffl"),
        '\u{fb05}' => Some("st"),
        '\u{fb06}' => Some("st"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn radicals_are_ideographs_and_ligatures_letters() {
        assert_eq!(meant('\u{2f00}'), Some("一"));
        assert_eq!(meant('\u{2f08}'), Some("人"));
        assert_eq!(meant('\u{2fd5}'), Some("龠"));
        assert_eq!(meant('\u{fb03}'), Some("ffi"));
        assert_eq!(meant('a'), None);
    }
}
