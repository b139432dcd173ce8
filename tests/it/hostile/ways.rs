//! Which way an example goes often depends on what Claude says. Without its own policies the simulated Claude says the least that fits,
//! which is always the same way: so here is what it says instead, by the length of what it is asked, and over many texts every way is
//! taken. Nothing in a text chooses one.

/// Policies for the steps that others depend on.
pub(crate) const POLICIES: &str = r#"
policies:
  - policy: ways/support-router
    when: "'Workflow: support-router' in system and 'Step: kind' in system"
    rules:
      - use: answer
        with:
          reasoning: By its length.
          confidence: 0.9
          with:
            desk: "{{ ['billing', 'technical', 'account', 'other'][(user | length) % 4] }}"
            urgency: normal
            confidence: 0.9
            why: By its length.
  - policy: ways/customer-onboarding
    when: "'Workflow: customer-onboarding' in system and 'Step: check' in system"
    rules:
      - use: answer
        with: {reasoning: It is complete., confidence: 0.9, with: {ready: true, questions: [], promised: []}}
  - policy: ways/research
    when: "'Workflow: research-study' in system"
    rules:
      - when: calls | length == 0
        use: list_sheets
        with: {reasoning: What is there?, confidence: 0.9, with: {case: Q-7}}
      - use: "{{ ['answered', 'remedy', 'remedy'][(user | length) % 3] }}"
        with: {reasoning: By its length., confidence: 0.9, summary: 'Change export.conf: batch_size = 500'}
"#;
