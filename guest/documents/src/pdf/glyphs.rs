//! Characters by the names of their glyphs, after the Adobe Glyph List.

/// Names, each with what it stands for. Letters are their own names, and white space cannot stand here.
const GLYPHS: &str = "
    AE Æ Aacute Á Abreve Ă Acaron Ǎ Acircumflex Â Adieresis Ä Adotaccent Ȧ Agrave À Alpha Α Amacron Ā
    Aogonek Ą Aring Å Atilde Ã Bdotaccent Ḃ Beta Β Cacute Ć Ccaron Č Ccedilla Ç Ccircumflex Ĉ
    Cdotaccent Ċ Chi Χ Dcaron Ď Dcedilla Ḑ Dcroat Đ Ddotaccent Ḋ Delta Δ Eacute É Ebreve Ĕ Ecaron Ě
    Ecedilla Ȩ Ecircumflex Ê Edieresis Ë Edotaccent Ė Egrave È Emacron Ē Eng Ŋ Eogonek Ę Epsilon Ε Eta Η
    Eth Ð Etilde Ẽ Euro € Fdotaccent Ḟ Gacute Ǵ Gamma Γ Gbreve Ğ Gcaron Ǧ Gcedilla Ģ Gcircumflex Ĝ
    Gdotaccent Ġ Gmacron Ḡ H18533 ■ H18543 ▪ H22073 □ Hbar Ħ Hcaron Ȟ Hcedilla Ḩ Hcircumflex Ĥ
    Hdieresis Ḧ Hdotaccent Ḣ Iacute Í Ibreve Ĭ Icaron Ǐ Icircumflex Î Idieresis Ï Idotaccent İ Igrave Ì
    Imacron Ī Iogonek Į Iota Ι Itilde Ĩ Jcircumflex Ĵ Kacute Ḱ Kappa Κ Kcaron Ǩ Kcedilla Ķ Lacute Ĺ
    Lambda Λ Lcaron Ľ Lcedilla Ļ Lslash Ł Macute Ḿ Mdotaccent Ṁ Mu Μ Nacute Ń Ncaron Ň Ncedilla Ņ
    Ndotaccent Ṅ Ngrave Ǹ Ntilde Ñ Nu Ν OE Œ Oacute Ó Obreve Ŏ Ocaron Ǒ Ocircumflex Ô Odieresis Ö
    Odotaccent Ȯ Ograve Ò Ohungarumlaut Ő Omacron Ō Omega Ω Omicron Ο Oogonek Ǫ Oslash Ø Otilde Õ
    Pacute Ṕ Pdotaccent Ṗ Phi Φ Pi Π Psi Ψ Racute Ŕ Rcaron Ř Rcedilla Ŗ Rdotaccent Ṙ Rho Ρ Sacute Ś
    Scaron Š Scedilla Ş Scircumflex Ŝ Scommaaccent Ș Sdotaccent Ṡ Sigma Σ Tau Τ Tcaron Ť Tcedilla Ţ
    Tcommaaccent Ţ Tdotaccent Ṫ Theta Θ Thorn Þ Uacute Ú Ubreve Ŭ Ucaron Ǔ Ucircumflex Û Udieresis Ü
    Ugrave Ù Uhungarumlaut Ű Umacron Ū Uogonek Ų Upsilon Υ Uring Ů Utilde Ũ Vtilde Ṽ Wacute Ẃ
    Wcircumflex Ŵ Wdieresis Ẅ Wdotaccent Ẇ Wgrave Ẁ Xdieresis Ẍ Xdotaccent Ẋ Xi Ξ Yacute Ý Ycircumflex Ŷ
    Ydieresis Ÿ Ydotaccent Ẏ Ygrave Ỳ Ymacron Ȳ Ytilde Ỹ Zacute Ź Zcaron Ž Zcircumflex Ẑ Zdotaccent Ż
    Zeta Ζ aacute á abreve ă acaron ǎ acircumflex â acute ´ adieresis ä adotaccent ȧ ae æ afii61352 №
    agrave à alpha α amacron ā ampersand & angleleft ⟨ angleright ⟩ aogonek ą approxequal ≈ aring å
    arrowboth ↔ arrowdblboth ⇔ arrowdblleft ⇐ arrowdblright ⇒ arrowdown ↓ arrowleft ← arrowright →
    arrowup ↑ asciicircum ^ asciitilde ~ asterisk * asteriskmath ∗ at @ atilde ã backslash \\ bar |
    bdotaccent ḃ beta β blacksquare ■ braceleft { braceright } bracketleft [ bracketright ] breve ˘
    brokenbar ¦ bullet • bulletoperator ∙ cacute ć caron ˇ ccaron č ccedilla ç ccircumflex ĉ cdotaccent ċ
    cdotp · cedilla ¸ cent ¢ check ✓ checkmark ✓ chi χ circle ○ circumflex ˆ colon : comma , congruent ≅
    copyright © currency ¤ dagger † daggerdbl ‡ dcaron ď dcedilla ḑ dcroat đ ddotaccent ḋ degree °
    delta δ dieresis ¨ divide ÷ dollar $ dong ₫ dotaccent ˙ dotlessi ı dotlessj ȷ dotmath ⋅ eacute é
    ebreve ĕ ecaron ě ecedilla ȩ ecircumflex ê edieresis ë edotaccent ė egrave è eight 8 element ∈
    ellipsis … emacron ē emdash — emptyset ∅ endash – eng ŋ eogonek ę epsilon ε epsilon1 ϵ equal =
    equivalence ≡ estimated ℮ eta η eth ð etilde ẽ exclam ! exclamdown ¡ existential ∃ fdotaccent ḟ ff ff
    ffi ffi ffl ffl fi fi filledbox ■ five 5 fl fl florin ƒ four 4 fraction ⁄ franc ₣ gacute ǵ gamma γ
    gbreve ğ gcaron ǧ gcedilla ģ gcircumflex ĝ gdotaccent ġ germandbls ß gmacron ḡ gradient ∇ grave `
    greater > greaterequal ≥ guillemotleft « guillemotright » guilsinglleft ‹ guilsinglright › hbar ħ
    hcaron ȟ hcedilla ḩ hcircumflex ĥ hdieresis ḧ hdotaccent ḣ hungarumlaut ˝ hyphen - iacute í ibreve ĭ
    icaron ǐ icircumflex î idieresis ï igrave ì imacron ī infinity ∞ integral ∫ intersection ∩ iogonek į
    iota ι itilde ĩ jcaron ǰ jcircumflex ĵ kacute ḱ kappa κ kcaron ǩ kcedilla ķ kgreenlandic ĸ lacute ĺ
    lambda λ lcaron ľ lcedilla ļ ldotp . less < lessequal ≤ lira ₤ logicaland ∧ logicalnot ¬ logicalor ∨
    lozenge ◊ lslash ł macron ¯ macute ḿ mdotaccent ṁ middot · minus − minute ′ mu µ multiply × nacute ń
    ncaron ň ncedilla ņ ndotaccent ṅ ngrave ǹ nine 9 notequal ≠ ntilde ñ nu ν numbersign # numero №
    oacute ó obreve ŏ ocaron ǒ ocircumflex ô odieresis ö odotaccent ȯ oe œ ogonek ˛ ograve ò
    ohungarumlaut ő omacron ō omega ω omicron ο one 1 onehalf ½ onequarter ¼ onesuperior ¹ oogonek ǫ
    openbullet ◦ ordfeminine ª ordmasculine º oslash ø otilde õ pacute ṕ paragraph ¶ parenleft (
    parenright ) partialdiff ∂ pdotaccent ṗ percent % period . periodcentered · perthousand ‰ phi φ
    phi1 ϕ pi π pi1 ϖ plus + plusminus ± prime ′ product ∏ propersubset ⊂ proportional ∝ psi ψ question ?
    questiondown ¿ quotedbl \" quotedblbase „ quotedblleft “ quotedblright ” quoteleft ‘ quoteleftbase ‚
    quoteright ’ quotesinglbase ‚ quotesingle ' racute ŕ radical √ rcaron ř rcedilla ŗ rdotaccent ṙ
    reflexsubset ⊆ registered ® rho ρ rho1 ϱ ring ˚ sacute ś scaron š scedilla ş scircumflex ŝ
    scommaaccent ș sdotaccent ṡ second ″ section § semicolon ; seven 7 sfthyphen - sigma σ sigma1 ς
    similar ∼ six 6 slash / softhyphen - square □ star ★ sterling £ summation ∑ tau τ tcaron ť tcedilla ţ
    tcommaaccent ţ tdieresis ẗ tdotaccent ṫ theta θ theta1 ϑ thorn þ three 3 threequarters ¾
    threesuperior ³ tilde ˜ trademark ™ triangleright ▷ two 2 twosuperior ² uacute ú ubreve ŭ ucaron ǔ
    ucircumflex û udieresis ü ugrave ù uhungarumlaut ű umacron ū underscore _ union ∪ universal ∀
    uogonek ų upsilon υ uring ů utilde ũ vtilde ṽ wacute ẃ wcircumflex ŵ wdieresis ẅ wdotaccent ẇ
    wgrave ẁ wring ẘ xdieresis ẍ xdotaccent ẋ xi ξ yacute ý ycircumflex ŷ ydieresis ÿ ydotaccent ẏ yen ¥
    ygrave ỳ ymacron ȳ yring ẙ ytilde ỹ zacute ź zcaron ž zcircumflex ẑ zdotaccent ż zero 0 zeta ζ";

/// What a glyph stands for. A suffix after a dot says only how it is drawn; parts with underscores between them are a ligature.
pub(super) fn text(name: &str) -> Option<String> {
    let name = name.split('.').next().filter(|name| !name.is_empty())?;
    let mut text = String::new();
    for part in name.split('_').take(8) {
        text.push_str(&part_text(part)?);
    }
    Some(text)
}

fn part_text(name: &str) -> Option<String> {
    if name.len() == 1 && name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Some(name.to_owned());
    }
    if matches!(name, "space" | "nbspace") {
        return Some(" ".to_owned());
    }
    let mut words = GLYPHS.split_ascii_whitespace();
    while let (Some(known), Some(text)) = (words.next(), words.next()) {
        if known == name {
            return Some(text.to_owned());
        }
    }
    let digits = name.strip_prefix("uni").filter(|digits| digits.len() >= 4 && digits.len() % 4 == 0);
    if let Some(digits) = digits {
        let units: Option<Vec<u16>> = (0..digits.len())
            .step_by(4)
            .map(|at| u16::from_str_radix(digits.get(at..at + 4)?, 16).ok())
            .collect();
        return String::from_utf16(&units?).ok();
    }
    let digits = name.strip_prefix('u').filter(|digits| (4..=6).contains(&digits.len()))?;
    let code = u32::from_str_radix(digits, 16).ok()?;
    char::from_u32(code).map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_list_and_by_number() {
        assert_eq!(GLYPHS.split_ascii_whitespace().count() % 2, 0);
        let check = |name, expected: Option<&str>| assert_eq!(text(name).as_deref(), expected, "{name}");
        check("space", Some(" "));
        check("backslash", Some("\\"));
        check("A", Some("A"));
        check("eacute", Some("é"));
        check("zero.oldstyle", Some("0"));
        check("f_f_i", Some("ffi"));
        check("uni4E2D", Some("中"));
        check("uniD83DDE00", Some("😀"));
        check("u1F600", Some("😀"));
        check("g23", None);
        check(".notdef", None);
    }
}
