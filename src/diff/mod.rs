//! placeholder until the branch lands
/// Rules.
#[derive(Debug, Default)]
pub struct Rules;
impl Rules {
    pub fn parse(_: &[String], _: Option<std::time::Duration>) -> Result<Self, String> {
        Ok(Self)
    }
}
