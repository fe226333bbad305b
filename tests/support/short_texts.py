"""Short texts and texts in scripts without spaces around benchmark prompts, labelled by hand: does who has read the text
know the benchmark's item? Nothing here stands in a published benchmark."""

SHORT = ("What is 3 + 4?", "C++?", "😀", "→", "2 ** 5", "Is x < y?", "Name a C# keyword.", "R&D budget in $?")
# Different texts, as people ask them; every one of them differs from the prompt in signs alone.
OTHERS = (
    "What is 3 * 4?", "What is 3 - 4?", "What is 3/4?", "What is 3 4?", "C#?", "C?", "C", "🎉", "😀😀", "???", "←", "∑∏",
    "2 * 5", "2^6", "Is x > y?", "Is x = y?", "Name a C keyword.", "Name a C++ keyword.", "R&D budget in €?",
)  # fmt: skip
SAME = (
    "what is 3+4", "WHAT IS 3 + 4 ?!", "c++", "“C++”?", "😀", " → ", "2**5", "2^5", "is x<y", "Name a `C#` keyword",
    "**Name a C# keyword.**", "R&D budget in $",
)  # fmt: skip

CHINESE = "小明有三十五本书,他把其中的十二本送给了妹妹,又从图书馆借来了八本,请问他现在一共有多少本书?"
JAPANESE = "ある村に三十五匹の羊と山羊がいて、足の数は全部で百四十本です。羊は山羊より七匹多いとき、羊は何匹いますか。"
THAI = "ชาวนาคนหนึ่งมีไก่และกระต่ายรวมกันสามสิบห้าตัว นับขาได้เก้าสิบสี่ขา อยากทราบว่าเขามีไก่กี่ตัวและกระต่ายกี่ตัว"
LAO = "ຊາວນາຄົນໜຶ່ງມີໄກ່ແລະກະຕ່າຍລວມກັນສາມສິບຫ້າໂຕ ນັບຂາໄດ້ເກົ້າສິບສີ່ຂາ ຢາກຮູ້ວ່າມີໄກ່ຈັກໂຕ"
KHMER = "កសិករម្នាក់មានមាន់និងទន្សាយសរុបសាមសិបប្រាំក្បាល រាប់ជើងបានកៅសិបបួន តើគាត់មានមាន់ប៉ុន្មានក្បាល"
BRIEF = ("什么是光合作用?", "光合成とは何ですか。", "ประเทศไทยมีกี่จังหวัด")
UNSPACED = (CHINESE, JAPANESE, THAI, LAO, KHMER, *BRIEF)
GIVEN_AWAY = tuple(
    [(text,) for text in UNSPACED]
    + [(f"老师说:{text}谢谢!",) for text in (CHINESE, JAPANESE, THAI, LAO, KHMER)]
    + [(text.replace(",", " ").replace("、", " ").replace(" ", ""),) for text in (CHINESE, JAPANESE, THAI, LAO, KHMER)]
    + [(text[: 3 * len(text) // 4],) for text in (CHINESE, JAPANESE, THAI, LAO, KHMER)]
)
# Not the item: the same topic, a phrase of more than thirteen characters that anybody may use, or another short question.
KEPT_BACK = (
    "小明有三十五本书,他最喜欢哪一本?",
    "请用简单的语言解释一下什么是区块链。",
    "请问他现在一共有多少本书?",
    "什么是区块链?",
    "什么是光合作用的暗反应?",
    "ある村に三十五匹の羊と山羊が暮らしています。",
    "光合成とは何か、詩にしてください。",
    "羊は山羊より七匹多いそうです。",
    "ชาวนาคนหนึ่งมีไก่หลายตัว",
    "ชาวนาคนหนึ่งมีไก่และกระต่าย เขาเลี้ยงอย่างไร",
    "ประเทศไทยมีกี่ภาค",
    "อยากทราบว่าเขามีไก่กี่ตัว",
    "ຊາວນາຄົນໜຶ່ງມີໄກ່ຫຼາຍໂຕ",
    "ຢາກຮູ້ວ່າມີໄກ່ຈັກໂຕ",
    "កសិករម្នាក់មានមាន់ច្រើន",
    "តើគាត់មានមាន់ប៉ុន្មានក្បាល",
)
# Instructions that share their beginning, and nothing else
BOILERPLATE = ("请用简单的语言解释一下什么是光合作用。", "กรุณาอธิบายด้วยภาษาที่เข้าใจง่ายว่าการสังเคราะห์แสงคืออะไร")
BOILERPLATE_USED = ("请用简单的语言解释一下什么是区块链。", "กรุณาอธิบายด้วยภาษาที่เข้าใจง่ายว่าบล็อกเชนคืออะไร")
