-- Agreement with people, of people themselves, each judge and each way to count votes.
SELECT judge, value, low, high FROM judge_cards WHERE stratum = 'all' AND figure = 'agrees_with_people'
ORDER BY judge = 'people' DESC, judge LIKE 'panel: %', judge
